"""The city: synthetic phones over the real HTTP API and feed, seeded; what it saw is held against receipts and balances."""
