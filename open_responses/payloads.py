"""What crosses Temporal between the API, the workflow and the activities.

Each item exists once in history: inputs in `StartResponse`, outputs in `SampleResult`. Inputs of activities carry
references and what is new, never the conversation, so that history grows by a constant amount per turn.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from open_responses.deltas import Usage
from open_responses.json_types import JsonObject
from open_responses.requests import CreateResponse
from open_responses.response import FinalStatus, ResponseStatus, finished_response, initial_response
from open_responses.trace import Op

TASK_QUEUE = "open-responses"
WORKFLOW = "ResponseWorkflow"
SAMPLE = "sample"
FINISH = "finish"


class Payload(BaseModel):
    """Base of all payloads: unknown fields are ignored, so that an older worker reads what a newer one wrote."""

    model_config = ConfigDict(extra="ignore")


class StartResponse(Payload):
    """Starts the workflow. `created_at` is in Unix seconds."""

    response_id: str
    tenant: str
    created_at: int
    request: CreateResponse
    provider: str
    upstream_model: str
    retry_window: float = Field(description="Seconds without progress after which a sample gives up.")

    @field_serializer("request")
    def _as_sent(self, request: CreateResponse) -> JsonObject:
        # What was not set stays not set: it is shorter, and the difference counts.
        return request.model_dump(mode="json", exclude_unset=True)

    def initial(self) -> JsonObject:
        """The response resource before anything came."""
        status: Literal["queued", "in_progress"] = "queued" if self.request.is_background else "in_progress"
        return initial_response(self.request, response_id=self.response_id, created_at=self.created_at, status=status)


class SampleInput(Payload):
    """One try at one turn. `epoch` is minted by the workflow and fences the log (with Temporal's attempt below it)."""

    response_id: str
    turn: int
    epoch: int
    provider: str
    upstream_model: str
    retry_window: float
    first_sequence: int
    first_output_index: int
    max_output_tokens: int | None = None
    lost: str | None = Field(default=None, description="Why the try before this one did not end; None for the first.")


class TurnUsage(Payload):
    """Tokens of one turn, or their sum."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    def plus(self, other: TurnUsage) -> TurnUsage:
        return TurnUsage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            estimated=self.estimated or other.estimated,
        )


SampleOutcome = Literal["done", "lost", "handed_over", "broken", "cancelled", "fenced"]


class SampleResult(Payload):
    """What became of a try.

    `done`: the turn stands; `items` are its output, `trace` how they were cut into events, from `first_sequence` on.
    `lost`: the worker died, and another one says so on its behalf. `handed_over`: the worker shuts down in good order.
    `broken`: the provider's stream broke after it had made progress. `fenced`: another try has taken over.
    All but `done` and `cancelled` mean: schedule the turn again, at once, with the next epoch.
    """

    outcome: SampleOutcome
    items: list[JsonObject] = []
    trace: list[Op] = []
    next_sequence: int = 0
    finish_reason: str = "stop"
    usage: TurnUsage = TurnUsage()
    reason: str | None = None


class Ending(Payload):
    """How a response ends. `error_*` belong to `failed`, `incomplete_reason` to `incomplete`."""

    status: FinalStatus
    incomplete_reason: str | None = None
    error_code: str = "server_error"
    error_message: str = ""


class FinishInput(Payload):
    """Ends the response: store, then announce.

    `next_sequence` is None when a sample was cut off and only the log knows where the stream stands.
    """

    start: StartResponse
    epoch: int
    ending: Ending
    output: list[JsonObject]
    trace: list[Op]
    next_sequence: int | None
    usage: TurnUsage | None
    ended_at: int


class FinishResult(Payload):
    """What only the log knew: the items of a sample that was cut off, and the trace to the end."""

    items: list[JsonObject] = []
    trace: list[Op] = []


class FinishedResponse(Payload):
    """The result of the workflow: all that `GET`, a replay of the stream, and a later turn need."""

    response: JsonObject
    trace: list[Op]


class Progress(Payload):
    """The answer to the workflow's `progress` query: enough to rebuild what Redis lost."""

    start: StartResponse
    status: ResponseStatus
    output: list[JsonObject]
    trace: list[Op]
    turn: int


def final_resource(
    start: StartResponse, ending: Ending, output: list[JsonObject], usage: TurnUsage | None, ended_at: int
) -> JsonObject:
    """The response as it is stored: the same, whether the workflow or the activity builds it."""
    total = None
    if usage is not None:
        total = Usage(usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    return finished_response(
        start.initial(),
        status=ending.status,
        output=output,
        completed_at=ended_at,
        usage=total,
        error=(ending.error_code, ending.error_message) if ending.status == "failed" else None,
        incomplete_reason=ending.incomplete_reason if ending.status == "incomplete" else None,
    )
