"""Who reads and asks: the HTTP API, the feed, and the views that answer from memory."""
