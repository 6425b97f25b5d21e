"""What a lost sample leaves in the output: shown to the client, and to no model."""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.json_types import JsonObject

# What a sample that broke off leaves half-finished, to be sampled again behind it.
_SAMPLED = ("message", "reasoning", "function_call", "mcp_call")


def without_partials(
    output: Sequence[JsonObject], *, keep_last: bool = False, goes_on: bool = False
) -> list[JsonObject]:
    """The output as the model reads it: half items were sampled again, and the thoughts right before one went with it.

    A thought without what it led to is refused by those who sign thoughts. `keep_last`: of a response that has ended,
    an `incomplete` last item is where its budget ended, and stays (ITEM-2). `goes_on`: what is open at the end is to be
    continued, behind the same thoughts.
    """
    kept: list[JsonObject] = []
    for index, item in enumerate(output):
        status = item.get("status")
        if status == "in_progress" or (status == "incomplete" and not (keep_last and index == len(output) - 1)):
            if item["type"] in _SAMPLED:
                while not (goes_on and index == len(output) - 1) and kept and kept[-1]["type"] == "reasoning":
                    kept.pop()
                continue
            if not keep_last:
                continue
        kept.append(item)
    return kept
