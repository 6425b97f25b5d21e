"""What lists have in common: their parameters, how many entries one answer holds, and the object around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from open_responses.errors import InvalidRequest, NotFound
from open_responses.json_types import JsonObject

DEFAULT_PAGE, LONGEST_PAGE = 20, 100
_DIGITS = 10


def check_names(query: Mapping[str, str], known: frozenset[str]) -> None:
    """A misspelt filter would list everything. Raises InvalidRequest."""
    for name in query:
        if name not in known:
            raise InvalidRequest(
                f"There is no parameter {name[:80]!r} here. Use {', '.join(sorted(known))}.",
                param=name[:80],
                code="unknown_parameter",
            )


def page_limit(text: str | None, *, default: int = DEFAULT_PAGE, longest: int = LONGEST_PAGE) -> int:
    """`limit` of a query. Raises InvalidRequest."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and 1 <= int(text) <= longest):
        raise InvalidRequest(
            f"'limit' must be a whole number from 1 to {longest}.", param="limit", code="invalid_value"
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


def unknown_cursor() -> NotFound:
    """The error for an `after` that is in no list of the caller's."""
    return NotFound("'after' must be the id of an entry. Take the last_id of the page before.", param="after")
