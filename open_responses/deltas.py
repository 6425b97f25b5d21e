"""Deltas: the pieces of a model's answer. An adapter yields them, and the assembler turns them into events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from open_responses.json_types import JsonObject

Phase: TypeAlias = Literal["commentary", "final_answer"]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text.

    Attributes:
        text: The characters that follow those of the deltas before.
        logprobs: Log probabilities in the specification's `LogProb` shape; None if they were not requested.
        phase: The phase of the message (ITEM-9); None if the provider does not send it. A phase that differs from the
            open message's starts a new message.
    """

    text: str
    logprobs: list[JsonObject] | None = None
    phase: Phase | None = None


@dataclass(frozen=True, slots=True)
class TextAnnotation:
    """A citation in the text so far.

    Attributes:
        annotation: The citation in the specification's `Annotation` shape (`url_citation`).
    """

    annotation: JsonObject


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    """A piece of the model's refusal."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the raw reasoning text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningSummaryDelta:
    """A piece of the summary of the reasoning, which some providers send instead of the raw text.

    Attributes:
        text: The characters that follow.
        summary_index: The number of the summary part, from 0. Another number starts a new part.
    """

    text: str
    summary_index: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningSeal:
    """Data that the provider must get back with this reasoning: a signature, or encrypted thoughts (ITEM-8).

    The seal ends the open reasoning item. Reasoning that follows starts another item. If no reasoning item is open, the
    seal becomes an item of its own.

    Attributes:
        data: The value of `encrypted_content`. An adapter marks it with `sealed_reasoning.mark`, so that no other
            provider receives it.
    """

    data: str


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """The end of a message or of reasoning. The next delta starts a new item, even one of the same type."""


@dataclass(frozen=True, slots=True)
class ProviderItemStart:
    """The start of a call of one of the provider's built-in tools, for providers that report its progress.

    `ProviderItem` with the same key ends the call. Other items may start before it does.

    Attributes:
        key: The number of the call within this answer.
        item: The item as far as it is known, with the provider's `type`. The server replaces `id` and `status`.
    """

    key: int
    item: JsonObject


@dataclass(frozen=True, slots=True)
class ProviderItemProgress:
    """The progress of a call that `ProviderItemStart` has started. Without that start it is dropped.

    Attributes:
        key: The number of the call within this answer.
        event: The type of the event that the client receives, such as `response.web_search_call.searching`. It is one
            of the types in `open_responses/events/event_types.py`.
        members: The members that the event has beside those that name the item, such as `partial_image_b64`.
    """

    key: int
    event: str
    members: JsonObject = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProviderItem:
    """A call of one of the provider's built-in tools (`web_search_call` …), as one whole item.

    Attributes:
        item: The item with the provider's `type`. A missing `status` becomes `completed`. The server replaces `id`.
        key: The number of the call that `ProviderItemStart` has started; None for a call that arrives only now.
    """

    item: JsonObject
    key: int | None = None


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """A token with which a later attempt reads this same answer again, from its beginning.

    Adapters that resume by `background` yield it before the deltas of the answer.

    Attributes:
        token: The token, at least one character. `SampleCall.resume_token` passes it to the later attempt.
    """

    token: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of one function call. Pieces of several calls may interleave.

    Attributes:
        index: The number of the call within this answer.
        arguments: The characters of the JSON arguments that follow.
        call_id: The provider's id of the call, in the first piece; None if the provider gives none.
        name: The name of the function, in the first piece.
        namespace: The namespace of the function, in the first piece, if the provider has namespaces.
        is_custom: Whether the call is of a custom tool: `arguments` are then the characters of its input.
        members: Further members of the call's item, in the first piece, which the provider must get back with it.
    """

    index: int
    arguments: str = ""
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    is_custom: bool = False
    members: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one sample, as the provider counts them.

    Attributes:
        input_tokens: All input tokens, those read from a cache and written to a cache included.
        output_tokens: All output tokens, `reasoning_tokens` included.
        cached_tokens: Input tokens that the provider read from its cache.
        cache_write_tokens: Input tokens that the provider wrote to its cache.
        reasoning_tokens: Output tokens of reasoning.
        estimated: Whether the numbers are an estimate, because the provider reported none.
        cost_usd: What the tokens cost, in US dollars, as far as their prices are known; None if none is. The server
            computes it. An adapter sets it if its provider reports it.
        unpriced: Whether the price of some of the tokens is not known.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cost_usd: float | None = None
    unpriced: bool = False

    def plus(self, other: Usage) -> Usage:
        """Return the sum of two samples' tokens. It is estimated if either of them is."""
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            estimated=self.estimated or other.estimated,
            cost_usd=_sum_of_known(self.cost_usd, other.cost_usd),
            unpriced=self.unpriced or other.unpriced,
        )


def _sum_of_known(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    # Sums of floats have noise in their last digits.
    return round(one + other, 12)


FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "pause"]
"""Why an answer ended. After `pause`, the provider continues once it gets the conversation back (`pause_turn`)."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of an answer. A stream without a `Finish` is broken, and the sample is attempted again.

    Attributes:
        reason: Why the answer ended.
        usage: The tokens of this sample.
        model: The model that answered, by the provider's name; None if the provider does not say.
        reported: Members of the response resource that the provider reports, such as the `service_tier` that it used.
    """

    reason: FinishReason
    usage: Usage = field(default_factory=lambda: Usage(estimated=True))
    model: str | None = None
    reported: JsonObject | None = None


Delta: TypeAlias = (
    TextDelta
    | TextAnnotation
    | RefusalDelta
    | ReasoningDelta
    | ReasoningSummaryDelta
    | ReasoningSeal
    | ItemEnd
    | ProviderItemStart
    | ProviderItemProgress
    | ProviderItem
    | ResumeToken
    | ToolCallDelta
    | Finish
)
