"""What is true: the messages, states, topics and tables of the whole platform."""
