"""What a provider's stream says, in our words: the adapter's output and the assembler's input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from open_responses.json_types import JsonObject

Phase: TypeAlias = Literal["commentary", "final_answer"]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer's text. `logprobs` are in the specification's `LogProb` shape.

    `phase` is the message's (ITEM-9), where the provider tells it; another than the open message's begins a new one.
    """

    text: str
    logprobs: list[JsonObject] | None = None
    phase: Phase | None = None


@dataclass(frozen=True, slots=True)
class TextAnnotation:
    """A citation in the text so far, in the specification's `Annotation` shape (`url_citation`)."""

    annotation: JsonObject


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
class ReasoningSeal:
    """What the provider wants back with this reasoning: a signature, encrypted or redacted thoughts (ITEM-8).

    It is the item's last word: reasoning that follows is another item, and without any open, it is one by itself.
    `data` becomes `encrypted_content` as it is: an adapter marks it as its own with `sealed_reasoning.mark`.
    """

    data: str


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """The provider ended its message or reasoning: what follows begins a new item, even if it is of the same kind."""


@dataclass(frozen=True, slots=True)
class ProviderItem:
    """What a built-in tool of the provider's did (`web_search_call` …), as one whole item with the provider's type.

    `status` is `completed` unless it says otherwise; `id` is ours.
    """

    item: JsonObject


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """By which a later try of an adapter that resumes by `background` reads this same answer again, from its beginning.

    Comes before the deltas that it stands for.
    """

    token: str


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
    """Tokens of one sample, as the provider counts them. `estimated` when it did not say.

    `input_tokens` are all of them: those read from a cache (`cached_tokens`) and written to one (`cache_write_tokens`)
    included, whether or not the provider counts them apart; `output_tokens` includes `reasoning_tokens`.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def plus(self, other: Usage) -> Usage:
        """Both samples' tokens together."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            estimated=self.estimated or other.estimated,
        )


FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "pause"]
"""`pause`: the provider wants the conversation back as it stands, to go on (Anthropic's `pause_turn`)."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The provider's last word. A stream without one is broken, however well it looked."""

    reason: FinishReason
    usage: Usage = field(default_factory=lambda: Usage(estimated=True))
    model: str | None = None


Delta: TypeAlias = (
    TextDelta
    | TextAnnotation
    | RefusalDelta
    | ReasoningDelta
    | ReasoningSummaryDelta
    | ReasoningSeal
    | ItemEnd
    | ProviderItem
    | ResumeToken
    | ToolCallDelta
    | Finish
)
