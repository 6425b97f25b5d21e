"""The payloads of one attempt at a model turn: its input, its result, and the signal about a provider's trouble."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from open_responses.events.trace import Op
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.payload import Payload


class SampleInput(Payload):
    """The input of one attempt at a model turn.

    The fence of the log follows from the workflow's `epoch` and Temporal's number of the activity's attempt.
    """

    response_id: str
    turn: int
    epoch: int
    provider: str
    upstream_model: str
    retry_window: float
    first_sequence: int
    first_output_index: int
    max_output_tokens: int | None = None
    context_window: int | None = None
    fallback: int = Field(default=0, description="0 for the route's own provider, i for the i-th fallback.")
    has_fallback: bool = Field(default=False, description="There is another fallback: give up this provider soon.")
    used: TurnUsage = Field(default=TurnUsage(), description="Tokens of the model turns before this one.")
    produced: int = Field(default=0, description="Bytes of the model turns before this one.")
    paid: TurnUsage = Field(default=TurnUsage(), description="Tokens of this turn's earlier attempts, as far as known.")
    fell_back: bool = Field(default=False, description="The last attempt was another provider's.")
    choice_spent: bool = Field(default=False, description="The call that tool_choice forces was made.")
    tries: int = Field(default=1, description="Counts the attempts at this turn, from 1.")
    lost: str | None = Field(default=None, description="Why the attempt before did not end; None for the first.")
    request_id: str | None = Field(default=None, description="As in `StartResponse`.")
    traceparent: str | None = Field(default=None, description="As in `StartResponse`.")


SampleOutcome = Literal["done", "lost", "handed_over", "broken", "cancelled", "fenced"]


class SampleResult(Payload):
    """The outcome of an attempt at a model turn.

    After every outcome but `done` and `cancelled`, the workflow schedules the model turn again at once, with the next
    epoch.

    Attributes:
        outcome: `done`: the model turn is complete. `lost`: the worker died, and another worker reports it.
            `handed_over`: the worker shuts down. `broken`: the provider's stream broke. `cancelled`: the response was
            cancelled. `fenced`: the log has a newer writer.
        items: The output of the model turn.
        trace: How the items were cut into events, from `first_sequence` on.
        next_sequence: The sequence number after the last event.
        finish_reason: Why the answer ended.
        usage: The tokens that the provider has counted for the model turn so far, however this attempt ended: all
            attempts, summaries, and answers that did not fit. An attempt that fails has them in its error's details.
        reason: Why the attempt did not complete the model turn.
        ended_at: The end of the model turn, in Unix seconds. The workflow's own clock differs when a task is repeated.
        produced: The bytes of the model turn.
        incomplete_reason: A limit of this server cut the answer off. `finish_reason` is then `length`, which earlier
            versions understand.
        code: The error code of a `broken` attempt.
        broke_at: A digest of the text and the error at which a `broken` attempt broke, equal for two that broke at the
            same point; None where it cannot be computed.
        made_progress: Whether a `broken` attempt brought anything.
        first_token_at: The time at which the attempt received its first content, in Unix seconds.
    """

    outcome: SampleOutcome
    items: list[JsonObject] = []
    trace: list[Op] = []
    next_sequence: int = 0
    finish_reason: str = "stop"
    usage: TurnUsage = TurnUsage()
    reason: str | None = None
    ended_at: float | None = None
    produced: int = 0
    incomplete_reason: str | None = None
    code: str | None = None
    broke_at: str | None = None
    made_progress: bool = True
    first_token_at: float | None = None
    reported: JsonObject | None = Field(
        default=None, description="Members of the response resource that the provider reports (`Finish.reported`)."
    )
    epoch_seen: int = Field(default=0, description="Of a `fenced` attempt: the epoch that owns the log.")


class ProviderTrouble(Payload):
    """The argument of the signal `provider_trouble`, which a sample sends between two of its attempts.

    Attributes:
        epoch: That of the sample, so that a signal that comes late is recognised.
        provider: The provider's name in the configuration.
        code: The error code of the failed attempt.
        message: The provider's message, shortened.
        next_at: The time of the next attempt, in Unix seconds; None: the provider answers again.
    """

    epoch: int
    provider: str
    code: str = ""
    message: str = ""
    next_at: float | None = None
