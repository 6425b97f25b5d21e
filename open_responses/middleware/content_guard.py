"""Ends a response when a forbidden pattern appears in its input or output."""

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
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)
from open_responses.schema.items import AssistantMessage, InputItem

# A match may span several deltas. Longer matches than this may be missed.
_LOOK_BACK_CHARACTERS = 1000


class ContentGuard(Middleware):
    """Ends a response as `completed`, with `message` as its last item, when `pattern` matches.

    The guard reads the items since the model's last answer (user messages, tool results) before the model does. It also
    reads everything that the model writes, before it passes on the delta that completes a match: text, refusals,
    reasoning, arguments, citations, and items of the provider's built-in tools. Each of these streams is matched
    separately. Encrypted content is not read.

    Args:
        pattern: A regular expression, matched without regard to case. A match of more than 1,000 characters may be
            missed.
        message: The text that replaces the rest of the answer.

    Raises:
        ValueError: `pattern` is not a regular expression.
    """

    def __init__(self, pattern: str, message: str = "I can't help with that.") -> None:
        try:
            self._pattern = re.compile(pattern, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
        self._message = message

    async def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        """Match the input, then each delta before it is passed on."""
        if any(self._pattern.search(text) for item in _new(context.call.items) for text in texts_of(item)):
            raise Halt(self._message)
        # A continued answer has its beginning in `prefix`. An answer that is read again arrives whole.
        said = {_channel(TextDelta("")): context.call.prefix or ""}
        async for delta in call_next(context):
            channel = _channel(delta)
            seen = said.get(channel, "")[-_LOOK_BACK_CHARACTERS:] + _words(delta)
            if self._pattern.search(seen):
                raise Halt(self._message)
            said[channel] = seen
            yield delta


def _new(items: Sequence[InputItem]) -> Iterator[InputItem]:
    """Return the items after the model's last answer, newest first."""
    return takewhile(lambda item: not isinstance(item, AssistantMessage), reversed(items))


def _channel(delta: Delta) -> tuple[str, int]:
    """Return the stream that a delta continues: parallel calls interleave, and reasoning may interrupt a text."""
    match delta:
        case ToolCallDelta(index=index) | ReasoningSummaryDelta(summary_index=index) | ProviderItemProgress(key=index):
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
        case ProviderItemProgress():
            # A delta continues the text before it. Any other progress is no text of the model.
            return str(delta.members.get("delta") or "")
        case ProviderItem() | ProviderItemStart():
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
