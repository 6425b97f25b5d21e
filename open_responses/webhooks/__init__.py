"""Webhooks: the events, the endpoints that get them, the signatures, and the log of deliveries."""
