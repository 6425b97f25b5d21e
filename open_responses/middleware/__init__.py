"""Shipped middlewares. A configuration names them as `open_responses.middleware:TokenBudget`."""
