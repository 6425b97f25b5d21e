"""The header with the cost of a response."""

from __future__ import annotations

import structlog
from fastapi import Request

from api.app_state import state_of
from api.http_headers import http_headers
from open_responses.io.redis.client import RedisDown

log = structlog.get_logger(__name__)

COST_HEADER = "x-open-responses-cost-usd"


async def show_cost(request: Request, response_id: str) -> None:
    """Add the cost of a response that has ended to the headers, if all of it is known. No answer fails for it."""
    try:
        cost = await state_of(request).store.cost(response_id)
    except RedisDown as error:
        log.info("cost_not_shown", response_id=response_id, reason=str(error))
        return
    if cost is not None:
        http_headers(request)[COST_HEADER] = in_digits(cost)


def in_digits(cost: float) -> str:
    """A decimal number without an exponent."""
    return f"{cost:.12f}".rstrip("0").rstrip(".")
