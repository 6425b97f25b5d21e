"""API keys that operators make while the server runs: their state, apart from Temporal and Redis."""
