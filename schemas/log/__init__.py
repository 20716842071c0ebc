"""What the log is made of, for all domains: messages, states, entities, the map of topics, the codec and its exports."""
