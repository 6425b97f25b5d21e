"""Bounds what a provider may send in a model turn: bytes, deltas, calls, and deltas without content.

What this prevents: one answer that fills the memory of its worker, of Redis, and of each API process that streams it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import orjson

from open_responses.deltas import (
    Delta,
    Finish,
    ItemEnd,
    ProviderItem,
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    ResumeToken,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)
from open_responses.errors import ProviderAnswerRefused

Excess: TypeAlias = Literal["max_output_bytes", "max_output_deltas", "max_output_calls"]
"""Why an answer is cut off: the reason of the incomplete response."""

# About the size of an item's events without its content.
_ITEM_BYTES = 256


@dataclass(frozen=True, slots=True)
class AnswerBounds:
    """The settings `OPEN_RESPONSES_MAX_…`. The bytes of text, reasoning, arguments and log probabilities in UTF-8 are
    counted, and 256 more for each item and call."""

    turn_bytes: int = 8 * 1024 * 1024
    response_bytes: int = 64 * 1024 * 1024
    turn_deltas: int = 500_000
    turn_calls: int = 128
    empty_deltas: int = 10_000


@dataclass(slots=True)
class AnswerMeter:
    """Counts one turn. `before` are the bytes of the response's earlier turns, `size` those of this turn so far,
    including the events of its earlier attempts in the log."""

    bounds: AnswerBounds
    before: int = 0
    size: int = 0
    deltas: int = 0
    characters: int = 0
    _most: int = field(init=False)
    _empty: int = 0
    _calls: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._most = min(self.bounds.turn_bytes, self.bounds.response_bytes - self.before)

    @property
    def left(self) -> int:
        return self._most - self.size

    def count(self, delta: Delta) -> Excess | None:
        """Count a delta, or return the bound that it would exceed; such a delta is not counted. Raises
        ProviderAnswerRefused for too many deltas in a row without content."""
        if isinstance(delta, Finish | ResumeToken):
            return None
        if type(delta) is TextDelta and delta.text.isascii() and not delta.logprobs:
            # Nearly all deltas.
            size = len(delta.text)
        else:
            size = size_of(delta)
        self.deltas += 1
        self._empty = 0 if size else self._empty + 1
        if self._empty > self.bounds.empty_deltas:
            raise ProviderAnswerRefused(f"the provider sent {self._empty} deltas in a row without content")
        if self.deltas > self.bounds.turn_deltas:
            return "max_output_deltas"
        if isinstance(delta, ToolCallDelta) and delta.index not in self._calls:
            if len(self._calls) >= self.bounds.turn_calls:
                return "max_output_calls"
            self._calls.add(delta.index)
            size += _ITEM_BYTES
        elif isinstance(delta, ItemEnd | ReasoningSeal | ProviderItem | ProviderItemProgress | ProviderItemStart):
            size += _ITEM_BYTES
        if size > self._most - self.size:
            return "max_output_bytes"
        self.size += size
        self.characters += size
        return None

    def forget_calls(self) -> None:
        """Reset the number of calls, because another answer begins in the same turn."""
        self._calls.clear()


def size_of(delta: Delta) -> int:
    """The bytes of a delta's content; 0 for a delta without content."""
    match delta:
        case TextDelta():
            return _bytes(delta.text) + (len(orjson.dumps(delta.logprobs)) if delta.logprobs else 0)
        case RefusalDelta() | ReasoningDelta() | ReasoningSummaryDelta():
            return _bytes(delta.text)
        case ToolCallDelta():
            return _bytes(delta.arguments) + len(delta.name or "")
        case ReasoningSeal():
            return len(delta.data)
        case ProviderItem() | ProviderItemStart():
            return len(orjson.dumps(delta.item))
        case ProviderItemProgress():
            return len(delta.event) + len(orjson.dumps(delta.members))
        case TextAnnotation():
            return len(orjson.dumps(delta.annotation))
    return 0


def beginning(text: str, size: int) -> str:
    """The longest beginning of a text that has at most this many bytes in UTF-8."""
    return text.encode(errors="surrogatepass")[: max(0, size)].decode(errors="ignore")


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
