"""What lists have in common: how many entries one answer holds."""

from __future__ import annotations

from open_responses.errors import InvalidRequest

DEFAULT_PAGE, LONGEST_PAGE = 20, 100
_DIGITS = 10


def page_limit(text: str | None) -> int:
    """`limit` of a query. Raises InvalidRequest."""
    if text is None:
        return DEFAULT_PAGE
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and 1 <= int(text) <= LONGEST_PAGE):
        raise InvalidRequest(f"limit is a whole number from 1 to {LONGEST_PAGE}.", param="limit", code="invalid_value")
    return int(text)
