"""Stops a response at words that must not come in or go out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import takewhile
from typing import Any

from open_responses.context.texts import texts_of
from open_responses.contracts import Halt, Middleware, SampleContext, SampleNext
from open_responses.deltas import (
    Delta,
    ProviderItem,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)
from open_responses.schema.items import AssistantMessage, InputItem

# A match may be spread over deltas; longer ones than this are not seen.
_LOOK_BACK_CHARACTERS = 1000


class ContentGuard(Middleware):
    """Ends a response as `completed`, with `message` as its last item, where `pattern` is found.

    In what came since the model's last answer (the user's words, tools' results), before the model reads it; and in all
    that the model says, to the client or to a tool, before the delta that would complete a match goes out: text,
    refusals, thoughts, arguments as they are written, citations, what a provider's own tool did. Each is read for
    itself, whatever comes in between. What a provider has encrypted is not read. Case does not count.
    """

    def __init__(self, pattern: str, message: str = "I can't help with that.") -> None:
        try:
            self._pattern = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
        self._message = message

    async def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        if any(self._pattern.search(text) for item in _new(context.call.items) for text in texts_of(item)):
            raise Halt(self._message)
        # An answer that goes on shows its beginning in the prefix; one that is read again comes whole.
        said = {_channel(TextDelta("")): context.call.prefix or ""}
        async for delta in call_next(context):
            channel = _channel(delta)
            seen = said.get(channel, "")[-_LOOK_BACK_CHARACTERS:] + _words(delta)
            if self._pattern.search(seen):
                raise Halt(self._message)
            said[channel] = seen
            yield delta


def _new(items: Sequence[InputItem]) -> Iterator[InputItem]:
    """What the model has not answered yet, the newest first."""
    return takewhile(lambda item: not isinstance(item, AssistantMessage), reversed(items))


def _channel(delta: Delta) -> tuple[str, int]:
    """What a delta goes on with: parallel calls interleave, and thoughts may stand between two words of an answer."""
    match delta:
        case ToolCallDelta(index=index) | ReasoningSummaryDelta(summary_index=index):
            return type(delta).__name__, index
        case _:
            return type(delta).__name__, 0


def _words(delta: Delta) -> str:
    match delta:
        case TextDelta() | RefusalDelta() | ReasoningDelta() | ReasoningSummaryDelta():
            return delta.text
        case ToolCallDelta():
            return delta.arguments
        case TextAnnotation():
            return "\n".join(["", *_strings(delta.annotation)])
        case ProviderItem():
            return "\n".join(["", *_strings(delta.item)])
        case _:
            return ""


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key != "encrypted_content":
                yield from _strings(inner)
