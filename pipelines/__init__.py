"""What is decided: one pure module per stem; `flows` are the processes, `runtime` is what runs them."""
