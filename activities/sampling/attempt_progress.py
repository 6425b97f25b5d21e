"""Progress of one sampling attempt. It decides what a failure leads to: an immediate retry, back-off, or the end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from open_responses.deltas import (
    Delta,
    ProviderItem,
    ProviderItemProgress,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import (
    OpenResponsesError,
    ProviderHungUp,
    ProviderRateLimited,
    ProviderStreamBroken,
    ProviderTimeout,
)


@dataclass(slots=True)
class AttemptProgress:
    """What changes while an attempt runs.

    `deltas` counts the provider's deltas. `is_read_again`: they belong to an answer that a lost attempt began, and
    `has_new_events` is set once one of them caused an event that the log did not have. `has_token`: the provider stores
    the answer, so that it can be read again. `halted_by`: the error with which a middleware, or a spent budget, ended
    the response. `excess`: the bound at which the answer was cut off.

    `spent` are the tokens of a partial answer that a lost attempt has paid for, by an estimate; `beside` those sampled
    beside the answer: a summary, an answer that did not fit, one that broke off. `reported` is the provider's usage of
    the call that is under way, and `kept_at` when the log last got it, on the monotonic clock.
    `unread` are the shapes of the provider's events, for an answer without any content.
    `first_token_at` is when the first content arrived, in Unix seconds.
    """

    deltas: int = 0
    has_begun: bool = False
    has_token: bool = False
    is_read_again: bool = False
    has_new_events: bool = False
    halted_by: OpenResponsesError | None = None
    excess: str | None = None
    has_content: bool = False
    spent: int = 0
    beside: Usage = field(default_factory=Usage)
    reported: Usage | None = None
    kept_at: float = -math.inf
    first_token_at: float | None = None
    unread: Sequence[str] = ()
    _content: blake2b = field(default_factory=lambda: blake2b(digest_size=16))
    _kind: str = ""

    @property
    def output_tokens(self) -> int:
        """The tokens of the turn's output budget that earlier attempts have used."""
        return self.spent + self.beside.output_tokens

    def read(self, delta: Delta) -> None:
        """Add a delta's content to the digest, which is the same however the answer is cut into deltas.

        Ids and seals are left out: they differ each time.
        """
        if type(delta) is TextDelta and self._kind == "TextDelta":
            # Nearly all deltas.
            self._content.update(delta.text.encode(errors="surrogatepass"))
            return
        match delta:
            case TextDelta() | RefusalDelta() | ReasoningDelta() | ReasoningSummaryDelta():
                self._add(type(delta).__name__, delta.text)
            case ToolCallDelta():
                self._add(f"call {delta.index}", (delta.name or "") + delta.arguments)
            case ProviderItem():
                self._add(str(delta.item.get("type")), " ")
            case ProviderItemProgress():
                self._add(f"{delta.event} {delta.key}", str(delta.members.get("delta") or " "))

    def _add(self, kind: str, text: str) -> None:
        if not text:
            return
        self.has_content = True
        if self.first_token_at is None:
            self.first_token_at = time.time()
        if kind != self._kind:
            self._content.update(f"\0{kind}\0".encode())
            self._kind = kind
        self._content.update(text.encode(errors="surrogatepass"))

    def broke_at(self, error: OpenResponsesError, prefix: str | None) -> str | None:
        """A digest of the answer before this attempt, of the text that this attempt added, and of the error.

        Two attempts in a row with the same digest broke at the same point. The digest is None where a repetition proves
        nothing: the provider was not reached, limits our rate, or has not begun the answer. It is None as well for an
        answer that is read again, which costs nothing.
        """
        if self.is_read_again or not error.retryable or isinstance(error, ProviderRateLimited | ProviderHungUp):
            return None
        if not self.has_content and not (prefix and isinstance(error, ProviderStreamBroken)):
            return None
        at_error = blake2b((prefix or "").encode(errors="surrogatepass"), digest_size=16)
        at_error.update(self._content.digest() + error.error_code.encode())
        return at_error.hexdigest()

    def has_lost_answer(self, error: OpenResponsesError) -> bool:
        """Whether reading the answer again would fail: the provider ended the answer with an error, or no longer has
        it.

        A connection that breaks or falls silent does not prove that, unless a whole reading brought no new event.
        """
        if not self.has_token:
            return False
        if not isinstance(error, ProviderStreamBroken | ProviderTimeout):
            return error.retryable and self.has_begun
        return self.is_read_again and not self.has_new_events

    def goes_on_at_once(self, error: OpenResponsesError) -> bool:
        """Whether to retry at once: the stream broke after some progress. Otherwise Temporal retries with back-off."""
        if self.halted_by is not None or not error.retryable:
            return False
        return self.deltas > 0 or (isinstance(error, ProviderStreamBroken) and self.has_lost_answer(error))
