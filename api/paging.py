"""What lists have in common: how many entries one answer holds, in which order, and the object around them."""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject

DEFAULT_PAGE, LONGEST_PAGE = 20, 100
_DIGITS = 10


def page_limit(text: str | None) -> int:
    """`limit` of a query. Raises InvalidRequest."""
    if text is None:
        return DEFAULT_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and 1 <= int(text) <= LONGEST_PAGE):
        raise InvalidRequest(
            f"'limit' must be a whole number from 1 to {LONGEST_PAGE}.", param="limit", code="invalid_value"
        )
    return int(text)


def is_newest_first(order: str | None) -> bool:
    """`order` of a query. Raises InvalidRequest."""
    if order not in (None, "asc", "desc"):
        raise InvalidRequest("'order' must be 'asc' or 'desc'.", param="order", code="invalid_value")
    return order != "asc"


def list_object(items: Sequence[JsonObject], *, has_more: bool = False) -> JsonObject:
    """One page. `has_more`: further entries follow its last."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
