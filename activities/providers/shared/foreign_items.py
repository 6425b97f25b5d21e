"""Decides about items that an adapter cannot express: whether they are left out, or make the request invalid."""

from __future__ import annotations

from open_responses.errors import InvalidRequest
from open_responses.schema.items import InputItem, OpaqueItem
from open_responses.schema.names import SLUG


def leave_out(item: InputItem, index: int, provider: str) -> None:
    """Accept the omission of our own extensions, and of the records of other providers' tools, whose answer is in the
    context too.

    Raises InvalidRequest for every other item; `index` is its place in the input.
    """
    if isinstance(item, OpaqueItem) and (item.is_record or item.type.startswith(SLUG)):
        return
    raise InvalidRequest(
        f"The provider {provider!r} cannot take an item of type {getattr(item, 'type', None)!r}. Leave it out.",
        param=f"input[{index}]",
        code="unsupported_item",
    )
