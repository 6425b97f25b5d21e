"""What a provider's stream says, in our words: the adapter's output and the assembler's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from open_responses.json_types import JsonObject


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text. `logprobs` are in the specification's `LogProb` shape."""

    text: str
    logprobs: list[JsonObject] | None = None


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """More of the model's refusal."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the raw reasoning text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningSummaryDelta:
    """More of the reasoning's summary, the part that providers show instead of the raw text."""

    text: str
    summary_index: int = 0


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of one function call. `index` is the provider's; calls may interleave.

    The first piece of a call carries `name`, and `call_id` where the provider gives one.
    """

    index: int
    arguments: str = ""
    call_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one sample, as the provider counts them. `estimated` when it did not say."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Finish:
    """The provider's last word. A stream without one is broken, however well it looked."""

    reason: FinishReason
    usage: Usage = field(default_factory=lambda: Usage(estimated=True))
    model: str | None = None


Delta: TypeAlias = TextDelta | RefusalDelta | ReasoningDelta | ReasoningSummaryDelta | ToolCallDelta | Finish
