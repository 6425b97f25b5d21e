"""How far a try has come: what its failure means, and what comes next, depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from open_responses.deltas import (
    Delta,
    ProviderItem,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from open_responses.errors import (
    OpenResponsesError,
    ProviderHungUp,
    ProviderRateLimited,
    ProviderStreamBroken,
    ProviderTimeout,
)


@dataclass(slots=True)
class Headway:
    """`deltas` counts those that the provider sent. `is_read_again`: they are of an answer that a lost try began, and
    `has_told` says whether any of them was new. `has_token`: the provider keeps the answer, to be read again.
    `halted_by`: the error that a middleware ended the response with. `excess`: the bound of ours that the answer was
    cut off at."""

    deltas: int = 0
    has_begun: bool = False
    has_token: bool = False
    is_read_again: bool = False
    has_told: bool = False
    halted_by: OpenResponsesError | None = None
    excess: str | None = None
    has_content: bool = False
    _content: blake2b = field(default_factory=lambda: blake2b(digest_size=16))
    _kind: str = ""

    def read(self, delta: Delta) -> None:
        """Take in what a delta says, however the answer is cut into deltas. Ids and seals are others each time."""
        match delta:
            case TextDelta() | RefusalDelta() | ReasoningDelta() | ReasoningSummaryDelta():
                self._add(type(delta).__name__, delta.text)
            case ToolCallDelta():
                self._add(f"call {delta.index}", (delta.name or "") + delta.arguments)
            case ProviderItem():
                self._add(str(delta.item.get("type")), " ")

    def _add(self, kind: str, text: str) -> None:
        if not text:
            return
        self.has_content = True
        if kind != self._kind:
            self._content.update(f"\0{kind}\0".encode())
            self._kind = kind
        self._content.update(text.encode(errors="surrogatepass"))

    def broke_at(self, error: OpenResponsesError, prefix: str | None) -> str | None:
        """A digest of where the answer stood, what this try brought, and how it broke: two tries in a row with the same
        have met the same break. None where that says nothing: the provider was not reached, asked for patience, or has
        not begun the answer at all; nor for an answer that is read again, which costs nothing."""
        if self.is_read_again or not error.retryable or isinstance(error, ProviderRateLimited | ProviderHungUp):
            return None
        if not self.has_content and not (prefix and isinstance(error, ProviderStreamBroken)):
            return None
        place = blake2b((prefix or "").encode(errors="surrogatepass"), digest_size=16)
        place.update(self._content.digest() + error.error_code.encode())
        return place.hexdigest()

    def has_lost_answer(self, error: OpenResponsesError) -> bool:
        """Whether an answer that could be read again would not go on: the provider ended it with an error, or has it no
        more.

        A connection that breaks or falls silent says nothing of the answer, unless a whole reading told nothing new.
        """
        if not self.has_token:
            return False
        if not isinstance(error, ProviderStreamBroken | ProviderTimeout):
            return error.retryable and self.has_begun
        return self.is_read_again and not self.has_told

    def goes_on_at_once(self, error: OpenResponsesError) -> bool:
        """A stream that broke after some progress goes on at once; without any, Temporal waits and tries again."""
        if self.halted_by is not None or not error.retryable:
            return False
        return self.deltas > 0 or (isinstance(error, ProviderStreamBroken) and self.has_lost_answer(error))
