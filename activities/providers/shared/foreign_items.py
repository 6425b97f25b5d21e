"""Items that an adapter has no form for: which may be left out, and which the request cannot do without."""

from __future__ import annotations

from open_responses.errors import InvalidRequest
from open_responses.schema.items import SLUG, InputItem, OpaqueItem


def leave_out(item: InputItem, index: int, provider: str) -> None:
    """Lets pass the records of other providers' tools, whose answer stands beside them, and our own extensions.

    Raises InvalidRequest for every other item; `index` is its place in the input.
    """
    if isinstance(item, OpaqueItem) and (item.is_record or item.type.startswith(SLUG)):
        return
    raise InvalidRequest(
        f"The provider {provider!r} cannot take an item of type {getattr(item, 'type', None)!r}. Leave it out.",
        param=f"input[{index}]",
        code="unsupported_item",
    )
