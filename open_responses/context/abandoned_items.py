"""Items that a lost sample left unfinished in the output. The client reads them, and no model does."""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.json_types import JsonObject
from open_responses.schema.items import OUTPUT_TYPE_OF, PROVIDER_ITEM_TYPES

# Types of items that a sample can leave unfinished. The next attempt samples them again, behind these.
_SAMPLED = ("message", "reasoning", "mcp_call", *OUTPUT_TYPE_OF)
# Calls of built-in tools that a provider streams, as it runs them. It rejects one that did not end.
_BUILT_IN = frozenset(kind for kinds in PROVIDER_ITEM_TYPES.values() for kind in kinds)


def without_partials(
    output: Sequence[JsonObject], *, keep_last: bool = False, goes_on: bool = False
) -> list[JsonObject]:
    """The output as the model reads it: without unfinished items, and without the reasoning right before each.

    The reasoning goes too, because providers that sign reasoning reject it without the item that followed it.

    Args:
        output: The items of the output, in order.
        keep_last: The response has ended, so an `incomplete` last item marks the end of its budget, and stays (ITEM-2).
        goes_on: The next attempt continues the unfinished last item, so the reasoning before it stays.
    """
    kept: list[JsonObject] = []
    for index, item in enumerate(output):
        status = item.get("status")
        is_end = keep_last and index == len(output) - 1 and item["type"] not in _BUILT_IN
        if status == "in_progress" or (status == "incomplete" and not is_end):
            if item["type"] in _SAMPLED or item["type"] in _BUILT_IN:
                while not (goes_on and index == len(output) - 1) and kept and kept[-1]["type"] == "reasoning":
                    kept.pop()
                continue
            if not keep_last:
                continue
        kept.append(item)
    return kept
