"""A response's events on their way to one client."""
