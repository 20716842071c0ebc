"""Other people's clients against the embedded warehouse, with their defaults."""
