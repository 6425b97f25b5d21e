"""Responses and conversations by id."""
