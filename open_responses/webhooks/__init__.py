"""Webhooks: what is sent, to whom, signed with what, and what became of it."""
