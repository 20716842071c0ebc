"""What serves the domains' routers: who asks, commands and their decisions, refusals, views, look-ups, the feed, errors."""
