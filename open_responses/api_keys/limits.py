"""The limits of an API key. Standard library only: the command line reads the names as well."""

from __future__ import annotations

LIMITS = (
    "requests_per_minute",
    "tokens_per_minute",
    "max_concurrent",
    "max_open_streams",
    "max_received_bytes",
    "reads_per_minute",
    "budget_tokens",
    "budget_usd",
    "budget_period",
)
"""Their names, as in `[[api_keys]]`."""
