"""Samples the summary that replaces a long conversation.

What this prevents: a conversation that an empty summary replaces, and a summary that uses the tokens of the answer. If
the model writes no usable summary, the conversation stays, and is cut as with `truncation: auto`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from open_responses.context.compaction import ORDER, condensed, is_due, notes_limit, summary_call, usable_notes
from open_responses.context.tokens import at_most, count_tokens, counted, item_tokens
from open_responses.context.truncation import budget
from open_responses.contracts import SampleCall, SampleContext
from open_responses.deltas import Delta, Finish, TextDelta, Usage
from open_responses.errors import ContextLengthExceeded, ProviderStreamBroken
from open_responses.events.surrogates import whole

# Of a model whose window is not configured.
_ANY_WINDOW = 100_000
MIN_NOTES = 256

Sample: TypeAlias = Callable[[SampleContext], AsyncGenerator[Delta, None]]


@dataclass(frozen=True, slots=True)
class Compacted:
    """The notes, None where the conversation stays as it is; and what the sample cost in either case."""

    notes: str | None = None
    usage: Usage = field(default_factory=Usage)


async def compact(sample: Sample, context: SampleContext, threshold: int, window: int | None) -> Compacted:
    """Notes on the conversation of `context.call`, if it has more tokens than the threshold.

    They get at most half of `context.call.max_output_tokens`, and the answer gets the rest. Raises the errors of the
    sample.
    """
    call = context.call
    if at_most(call.items) <= threshold or not await counted(is_due, call.items, threshold, item_tokens):
        return Compacted()
    limit = notes_limit(threshold, window, call.max_output_tokens)
    if limit is None:
        return Compacted()
    for asking in await counted(_attempts, call, limit, threshold, window):
        try:
            return await _written(sample, replace(context, call=asking), limit)
        except ContextLengthExceeded:
            # The window is smaller than configured, or is not configured: the next attempt sends less.
            continue
    return Compacted()


async def compact_now(sample: Sample, context: SampleContext, window: int | None) -> Compacted:
    """Notes on the whole conversation, however short it is, because the client requested them. Raises
    ContextLengthExceeded if even an excerpt exceeds the window."""
    limit = notes_limit(window or _ANY_WINDOW, window, None) or MIN_NOTES
    attempts = await counted(_attempts, context.call, limit, window or _ANY_WINDOW, window)
    attempts = attempts or [summary_call(context.call, limit)]
    for asking in attempts[:-1]:
        with suppress(ContextLengthExceeded):
            return await _written(sample, replace(context, call=asking), limit)
    return await _written(sample, replace(context, call=attempts[-1]), limit)


def _attempts(call: SampleCall, limit: int, threshold: int, window: int | None) -> list[SampleCall]:
    """The call with all that its window takes, then with as much as the client finds a conversation of good length."""
    attempts: list[SampleCall] = []
    around = count_tokens(ORDER) + count_tokens(call.request.instructions or "")
    if window is None:
        attempts.append(summary_call(call, limit))
        rooms = {threshold}
    else:
        rooms = {budget(window, limit), min(threshold, budget(window, limit))}
    for room in sorted(rooms, reverse=True):
        items = condensed(call.items, room - around, item_tokens)
        if items is not None:
            attempts.append(summary_call(replace(call, items=items), limit))
    return attempts


async def _written(sample: Sample, context: SampleContext, limit: int) -> Compacted:
    texts: list[str] = []
    async with aclosing(sample(context)) as stream:
        async for delta in stream:
            if isinstance(delta, TextDelta):
                texts.append(delta.text)
            if isinstance(delta, Finish):
                return Compacted(usable_notes(whole("".join(texts)), delta.reason, limit), delta.usage)
    raise ProviderStreamBroken("the provider's stream ended without saying why")
