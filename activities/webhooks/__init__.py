"""Webhooks: starts the deliveries of a response's events, and sends each."""
