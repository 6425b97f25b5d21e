"""Fits a call into its model's context window, where the window is configured."""

from __future__ import annotations

from dataclasses import replace

from activities.providers.shared.building import built
from open_responses.context.tokens import at_most, count_tokens, counted, item_tokens, json_tokens
from open_responses.context.truncation import budget, check_fits, fit
from open_responses.contracts import SampleCall


async def fitted(call: SampleCall, window: int | None) -> SampleCall:
    """Return the call without its oldest turns under `truncation: auto`. Otherwise return it unchanged, or raise
    ContextLengthExceeded.

    A client that requests compaction accepts that older turns are replaced. If no summary could be written, they are
    dropped as well. Without a configured window, the call stays whole, and the provider rejects one that is too long.
    """
    if window is None:
        return call
    room = budget(window, call.max_output_tokens)
    if await built(call, lambda: at_most(call.items) + _around_at_most(call)) <= room:
        return call
    return await counted(_counted, call, window, room)


def _counted(call: SampleCall, window: int, room: int) -> SampleCall:
    around = count_tokens(call.request.instructions or "") + count_tokens(call.prefix or "")
    around += json_tokens(tool.model_dump(mode="json", exclude_unset=True) for tool in call.tools)
    left = room - around
    if call.request.truncation == "auto" or call.request.compact_threshold is not None:
        return replace(call, items=fit(call.items, left, item_tokens))
    check_fits(around + sum(map(item_tokens, call.items)), window)
    return call


def _around_at_most(call: SampleCall) -> int:
    """An upper bound of the tokens beside the items. It needs neither a tokenizer nor the memory of its vocabulary."""
    words = len(call.request.instructions or "") + len(call.prefix or "")
    tools = sum(len(tool.model_dump_json(exclude_unset=True)) for tool in call.tools)
    return 4 * (words + tools)
