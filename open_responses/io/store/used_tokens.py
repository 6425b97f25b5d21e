"""The tokens that limits and budgets count for a response that has ended."""

from __future__ import annotations

import orjson

from open_responses.io.redis.rate_limits import Used
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.usage import TurnUsage


def tokens_of(item: JsonObject) -> int:
    """An estimate of the tokens of a stored item: four characters a token."""
    return len(orjson.dumps(item)) // 4


def used_by(response: JsonObject, *, context_tokens: int, was_cut_off: bool, usage: TurnUsage | None = None) -> Used:
    """Tokens of an ended response, for limits and budgets.

    Args:
        response: The final resource.
        context_tokens: An estimate of the tokens that the first model turn sent, used if Redis has lost the
            reservation.
        was_cut_off: No provider reported the end of the last model turn. Its input is counted, unless the turn failed
            before its first delta.
        usage: The tokens that were reported, with their cost.
    """
    cost_usd = None if usage is None else usage.cost_usd
    known = response["usage"]["total_tokens"] if response["usage"] is not None else 0
    if usage is not None:
        # The response shows the tokens of its agents as well, which their own responses count.
        known = usage.total
    unreported = [item for item in response["output"] if not known or item.get("status") == "incomplete"]
    if not was_cut_off or (response["status"] == "failed" and not unreported):
        return Used(known, cost_usd=cost_usd)
    tokens = sum(map(tokens_of, unreported))
    if not known and unreported:
        known = context_tokens + tokens
    return Used(known, cut_off=tokens, cost_usd=cost_usd)
