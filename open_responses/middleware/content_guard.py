"""Stops a response at words that must not come in or go out."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import takewhile

from open_responses.contracts import Halt, Middleware, SampleContext, SampleNext
from open_responses.deltas import Delta, ReasoningDelta, ReasoningSummaryDelta, TextDelta
from open_responses.items import AssistantMessage, InputItem
from open_responses.texts import texts_of

# A match may be spread over deltas; longer ones than this are not seen.
_LOOK_BACK_CHARACTERS = 1000


class ContentGuard(Middleware):
    """Ends a response as `completed`, with `message` as its last item, where `pattern` is found.

    In what came since the model's last answer (the user's words, tools' results), before the model reads it; and in the
    answer, before the delta that would complete a match goes out. Case does not count.
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
        said = context.call.prefix or ""
        async for delta in call_next(context):
            if isinstance(delta, TextDelta | ReasoningDelta | ReasoningSummaryDelta):
                said = said[-_LOOK_BACK_CHARACTERS:] + delta.text
                if self._pattern.search(said):
                    raise Halt(self._message)
            yield delta


def _new(items: Sequence[InputItem]) -> Iterator[InputItem]:
    """What the model has not answered yet, the newest first."""
    return takewhile(lambda item: not isinstance(item, AssistantMessage), reversed(items))
