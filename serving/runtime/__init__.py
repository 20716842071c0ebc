"""What serves the domains' routers: who asks, commands and their outcomes, views, the feed, errors."""
