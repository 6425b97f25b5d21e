"""What crosses Temporal between the API, the workflow and the activities.

Each item exists once in history: inputs in `StartResponse`, outputs in `SampleResult`. Inputs of activities carry
references and what is new, never the conversation, so that history grows by a constant amount per turn.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import Field, field_serializer, model_validator

from open_responses.deltas import Usage
from open_responses.events.trace import Op
from open_responses.json_types import JsonObject
from open_responses.schema.http_bodies import ResponseStatus
from open_responses.schema.items import INPUT_ITEM, InputItem
from open_responses.schema.payload import Payload
from open_responses.schema.requests import CreateResponse
from open_responses.schema.response import FinalStatus, finished_response, initial_response
from open_responses.schema.tools import McpTool
from open_responses.tool_use.hosted_tool import HostedTool

TASK_QUEUE = "open-responses"
WORKFLOW = "ResponseWorkflow"
APPROVAL_WORKFLOW = "ApprovalWorkflow"
SAMPLE = "sample"
FINISH = "finish"
CLOSE_CUT_OFF_SAMPLE = "close_cut_off_sample"
PUBLISH = "publish"
LIST_MCP_TOOLS = "list_mcp_tools"
CALL_MCP_TOOL = "call_mcp_tool"
CLAIM_APPROVALS = "claim_approvals"
MAY_TRY_AGAIN = "may_try_again"
"""The type of an MCP call's failure after which a second call does no harm."""
FLEET_PREFIX = "fleet-"
"""Begins the id of an activity that another fleet runs: its worker's death is not ours to notice."""


MAX_FLEET_PAYLOAD = 100_000
"""Characters of JSON: what is longer leaves history for files of ours, which another fleet cannot read."""


class Target(Payload):
    """Where a request's turns are sampled: a provider by its name in the configuration, and its name for the model."""

    provider: str
    upstream_model: str
    context_window: int | None = None


class Decision(Payload):
    """A person's decision about a stored call. Its stored name and arguments run, not what the client sent back."""

    approval_request_id: str
    server_label: str
    name: str
    arguments: str
    approve: bool
    reason: str | None = None


class TurnUsage(Payload):
    """Tokens of one turn, or their sum."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @classmethod
    def of(cls, usage: Usage) -> TurnUsage:
        return cls(**asdict(usage))

    def plus(self, other: TurnUsage) -> TurnUsage:
        return TurnUsage.of(Usage(**self.model_dump()).plus(Usage(**other.model_dump())))

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens

    def at_least(self, other: TurnUsage) -> TurnUsage:
        """The later of two running totals of the same tokens."""
        return self if self.total >= other.total else other


class Ending(Payload):
    """How a response ends. `error_*` belong to `failed`, `incomplete_reason` to `incomplete`."""

    status: FinalStatus
    incomplete_reason: str | None = None
    error_code: str = "server_error"
    error_message: str = ""


class Admitted(Payload):
    """What a response has taken of its API key's limits: a slot among the running ones, under the key's account, and
    an estimate of the tokens that its first model turn sends, counted in that Unix second; 0 for one that was let in
    while Redis was away. `budget_tokens` is the key's budget, 0 for none."""

    account: str
    budget_period: Literal["day", "month"] = "month"
    budget_tokens: int = 0
    tokens: int = 0
    second: int = 0


class RememberedTurn(Payload):
    """A response that is stored nowhere, as its connection remembers it."""

    input: list[JsonObject]
    output: list[JsonObject]


class Remembered(Payload):
    """The end of a chain that is stored nowhere: a connection's memory, in the start of the response that goes on from
    it, so that nothing but this start is needed to go on after a crash.

    `turns`, oldest first, came after the stored response `after` and its chain; None: they are the whole conversation.
    `pieces` stand for the turns before them, in files of the conversation `conversation_id`
    (`io/store/conversation_pieces.py`).
    """

    after: str | None = None
    conversation_id: str | None = None
    pieces: list[str] = []
    turns: list[RememberedTurn] = []


class Carried(Payload):
    """What one run of the workflow hands to the next (continue-as-new), between two turns.

    `stop` is the ending that was requested meanwhile; `cancelled` stands for one in what older workers wrote.
    """

    epoch: int
    turn: int
    output: list[JsonObject]
    trace: list[Op]
    usage: TurnUsage | None
    tool_calls: int
    choice_spent: bool
    fallback: int = 0
    produced: int = 0
    started_at: float
    stop: Ending | None = None
    cancelled: bool = False


class StartResponse(Payload):
    """Starts the workflow. `created_at` is in Unix seconds.

    `fallbacks` are tried in order when the provider stays down. `provider_key` is the request's own key, sealed.
    `is_compaction`: the output is to be a summary of the conversation, and no answer.
    `results_in_order`: of tools that run side by side, the first result wakes first. Starts of earlier versions have it
    not, and replay as they ran.
    `repeats_alike` is missing there as well: a workflow task that Temporal repeats, with what came meanwhile, publishes
    and ends as it did the first time.
    `body_digest` and `nonce` belong to an `Idempotency-Key`: what it came with, and which of those that race this is.
    `admitted` is given back to the API key's limits at the end; `context_tokens` is an estimate of what the first model
    turn sends, with all that it continues, 0 where no key's limits apply.
    `secrets` are the headers and tokens of the request's MCP servers by label, sealed. `decisions` are the approvals
    that the request brings. `deadline_seconds` counts from the start. `remembered` belongs to a `previous_response_id`
    that is stored nowhere, or to a conversation. `earlier_bytes` is how long that is, as JSON, which this one continues
    and does not carry; None in starts of earlier versions.
    """

    response_id: str
    tenant: str
    created_at: int
    request: CreateResponse
    provider: str
    upstream_model: str
    retry_window: float = Field(description="Seconds without progress after which a sample gives up.")
    context_window: int | None = None
    fallbacks: list[Target] = []
    provider_key: str | None = None
    is_compaction: bool = False
    results_in_order: bool = False
    repeats_alike: bool = False
    body_digest: str | None = None
    nonce: str | None = None
    admitted: Admitted | None = None
    context_tokens: int = 0
    hosted: list[HostedTool] = []
    secrets: dict[str, str] = {}
    decisions: list[Decision] = []
    max_turns: int = 100
    deadline_seconds: float | None = None
    remembered: Remembered | None = None
    earlier_bytes: int | None = None
    carried: Carried | None = None
    accepted_input: list[JsonObject] | None = Field(
        default=None,
        exclude=True,
        description="The request's input items as JSON, and `request.input` is empty. Never written: see `_as_sent`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _accepted_input_stays_json(cls, given: Any) -> Any:
        """The API has validated the input. To make its models again, in each process that reads the start, takes up to
        ten times as long as to read the JSON (docs/decisions/0030)."""
        request = given.get("request") if isinstance(given, dict) else None
        if isinstance(request, dict) and isinstance(request.get("input"), list):
            return {**given, "request": {**request, "input": ""}, "accepted_input": request["input"]}
        return given

    @field_serializer("request")
    def _as_sent(self, request: CreateResponse) -> JsonObject:
        # What was not set stays not set: it is shorter, and the difference counts.
        sent = request.model_dump(mode="json", exclude_unset=True)
        return sent if self.accepted_input is None else {**sent, "input": self.accepted_input}

    def with_accepted_input(self) -> StartResponse:
        """The same, with the input's items as JSON: to be written more than once, and sent nowhere else."""
        if self.accepted_input is not None or isinstance(self.request.input, str):
            return self
        items = self.given_input()
        return self.model_copy(
            update={"request": self.request.model_copy(update={"input": ""}), "accepted_input": items}
        )

    def given_input(self) -> str | list[JsonObject]:
        """The request's input as JSON."""
        if self.accepted_input is not None:
            return self.accepted_input
        given: str | list[JsonObject] = self.request.model_dump(mode="json", exclude_unset=True, include={"input"})[
            "input"
        ]
        return given

    @property
    def continues(self) -> str | None:
        """The newest stored response of the chain before this one."""
        return self.request.previous_response_id if self.remembered is None else self.remembered.after

    @property
    def has_mcp(self) -> bool:
        return any(isinstance(tool, McpTool) for tool in self.request.tools or [])

    @property
    def targets(self) -> list[Target]:
        """The route's own first, then its fallbacks."""
        own = Target(provider=self.provider, upstream_model=self.upstream_model, context_window=self.context_window)
        return [own, *self.fallbacks]

    @property
    def has_input(self) -> bool:
        """False where a chain alone is compacted, or continued with nothing to add."""
        if self.accepted_input is not None:
            return bool(self.accepted_input)
        return self.request.input != [] and not (self.is_compaction and self.request.input == "")

    def input_items(self) -> list[InputItem]:
        """The request's own part of the conversation. Of a long input that takes a second: not on an event loop."""
        if not self.has_input:
            return []
        if self.accepted_input is None:
            return self.request.input_items()
        return [INPUT_ITEM.validate_python(item) for item in self.accepted_input]

    def initial(self) -> JsonObject:
        """The response resource before anything came."""
        status: Literal["queued", "in_progress"] = "queued" if self.request.is_background else "in_progress"
        return initial_response(
            self.request,
            response_id=self.response_id,
            created_at=self.created_at,
            status=status,
            hosted=[tool.name for tool in self.hosted],
        )


class SampleInput(Payload):
    """One attempt at one model turn. `epoch` is the workflow's; with Temporal's attempt below it, it fences the log."""

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
    has_fallback: bool = Field(default=False, description="Another provider waits: do not try this one for long.")
    used: TurnUsage = Field(default=TurnUsage(), description="Tokens of the turns before this one.")
    produced: int = Field(default=0, description="Bytes that the turns before this one brought.")
    paid: TurnUsage = Field(default=TurnUsage(), description="Tokens of this turn's earlier attempts, as far as known.")
    fell_back: bool = Field(default=False, description="The last attempt was another provider's.")
    choice_spent: bool = Field(default=False, description="A forced tool_choice was kept already.")
    tries: int = Field(default=1, description="Counts the attempts at this turn, from 1.")
    lost: str | None = Field(default=None, description="Why the last attempt did not end; None for the first.")


SampleOutcome = Literal["done", "lost", "handed_over", "broken", "cancelled", "fenced"]


class SampleResult(Payload):
    """The outcome of an attempt.

    `done`: the turn stands; `items` are its output, `trace` how they were cut into events, from `first_sequence` on.
    `lost`: the worker died, and another one says so on its behalf. `handed_over`: the worker shuts down in good order.
    `broken`: the provider's stream broke after it had made progress. `fenced`: another attempt has taken over.
    All but `done` and `cancelled` mean: schedule the turn again, at once, with the next epoch.
    `ended_at`, in Unix seconds, is when the turn was done: a workflow has no clock of its own that stands still when a
    task is repeated.

    `usage` is what the provider has counted for the turn so far, in all its attempts and in what was sampled beside
    them (summaries, answers that did not fit), however this attempt ended. One that fails has the same in its error's
    details.
    `produced` are the bytes that the turn brought. `incomplete_reason`: the answer was cut off by a bound of ours; its
    `finish_reason` is then `length`, which earlier versions understand.
    Of an attempt that is `broken`, `code` is the error's; `broke_at` is the same for two that broke in the same place
    with the same text and error, None where that cannot be said; without `made_progress`, it brought nothing.
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
    epoch_seen: int = Field(default=0, description="Of a `fenced` attempt: the epoch that owns the log.")


class ToolContextPayload(Payload):
    """The context of a tool's activity, beside its arguments. `attempt` is the first of this activity, from 1."""

    response_id: str
    call_id: str
    idempotency_key: str
    tenant: str
    metadata: dict[str, str] = {}
    attempt: int = 1
    output_index: int = 0


class ToolCall(Payload):
    """The input of a hosted tool's activity, on our workers and on other fleets alike (docs/tools.md)."""

    tool: str
    arguments: JsonObject
    context: ToolContextPayload


class McpCallInput(Payload):
    """The input of a call to an MCP server. The server's secrets are in the response's start, sealed.

    `may_have_run`: a worker was lost in it, so only a tool that may run twice is called again.
    """

    server_label: str
    tool: str
    arguments: JsonObject
    context: ToolContextPayload
    may_have_run: bool = False


class McpListInput(Payload):
    """Asks a server for its tools, unless the context or the cache has them."""

    response_id: str
    tenant: str
    server_label: str


ToolOutcome = Literal["done", "failed", "halted", "lost", "handed_over", "cancelled"]


class ToolResult(Payload):
    """What became of a call. `failed`: `output` is the error's message, for the model. `halted`: a middleware ends the
    response with the error of code `reason`, whose message is the output.

    `lost` and `handed_over`: the worker died or shut down, and the call is to be run again, with the same key.
    `attempts`: how often the activity began, as Temporal counts; each may have had its effect.
    """

    outcome: ToolOutcome
    output: str | list[JsonObject] = ""
    reason: str | None = None
    attempts: int = 1


class ToolProgress(Payload):
    """A running tool's message to the client. `output_index` is that of the item that waits for the result."""

    output_index: int
    message: str


class McpListResult(Payload):
    """A server's tools in the shape of OpenAI's `mcp_list_tools`, or why there are none.

    `known`: the context shows them already, from an earlier response, and nothing is added to this one.
    """

    outcome: ToolOutcome
    known: bool = False
    tools: list[JsonObject] = []
    error: str | None = None


class PublishInput(Payload):
    """Events of the workflow's own, and the items that they settle, by output index.

    `initial` is the response before anything came. `output` and `trace` are sent only when the log was found to have
    lost what comes before: it is written again.
    """

    response_id: str
    initial: JsonObject
    epoch: int
    first_sequence: int
    events: list[JsonObject]
    items: dict[int, JsonObject]
    output: list[JsonObject] | None = None
    trace: list[Op] | None = None


PublishOutcome = Literal["published", "log_lost", "fenced", "diverged", "ended"]


class PublishResult(Payload):
    """`diverged`: an earlier run of this workflow task has published other events; `there` are the log's, from
    `first_sequence` on. `ended`: the response has an end that this run has not written, and nothing is left to do."""

    outcome: PublishOutcome
    there: list[JsonObject] = []


class ApprovalAnswer(Payload):
    """The update that answers a response which waits inside its workflow."""

    approval_request_id: str
    approve: bool
    reason: str | None = None


class ApprovalClaim(Payload):
    """A used approval, and the response that used it.

    The record of it outlives both responses, also where they are deleted. So it has no content: the call and the
    person's reason are left out. `decision` keeps its shape for older processes, which write and read all of it.
    `nonce` is that of the response's start (`StartResponse`); None in claims of earlier versions.
    """

    response_id: str
    decision: Decision
    nonce: str | None = None

    @classmethod
    def of(cls, response_id: str, decision: Decision, nonce: str | None) -> ApprovalClaim:
        """The claim without content."""
        kept = Decision(
            approval_request_id=decision.approval_request_id,
            approve=decision.approve,
            server_label="",
            name="",
            arguments="",
        )
        return cls(response_id=response_id, decision=kept, nonce=nonce)

    def agrees_with(self, own: ApprovalClaim) -> bool:
        """Whether both are of the same response, with the same answer.

        The id of a response with an `Idempotency-Key` follows from the key: a later response may get the id of one
        that was deleted, or is not kept any more. Only the nonce distinguishes them.
        """
        if (self.response_id, self.decision.approve) != (own.response_id, own.decision.approve):
            return False
        return self.nonce is None or own.nonce is None or self.nonce == own.nonce


class ClaimInput(Payload):
    """Takes approvals for a response that has begun. `nonce` is that of its start."""

    response_id: str
    decisions: list[Decision]
    nonce: str | None = None


class ClaimResult(Payload):
    """`refused`: the ids of those that another response has acted on already."""

    refused: list[str] = []


class FinishInput(Payload):
    """Ends the response: store, then announce.

    `cut_off`: a sample was stopped in the middle, and only the log knows where the stream stands. `usage` is that of
    the turns that stand; `paid` what is known of `turn`, the one that does not stand. `has_diverged`: the log holds
    other events than `trace`, and stands. `was_cut_off`: such a sample's items are in `output` already.
    """

    start: StartResponse
    epoch: int
    ending: Ending
    output: list[JsonObject]
    trace: list[Op]
    cut_off: bool
    usage: TurnUsage | None
    ended_at: int
    has_diverged: bool = False
    was_cut_off: bool = False
    turn: int = 0
    paid: TurnUsage = TurnUsage()


class FinishResult(Payload):
    """What only the log knew: the items of a sample that was cut off, the trace to the end, and what the turn that does
    not stand has cost.

    `announced`: the response had an end already, which stays, or the log holds other events than the workflow's, and
    clients were sent those. This is the response that they amount to, and `trace` is the whole log's.
    """

    items: list[JsonObject] = []
    trace: list[Op] = []
    paid: TurnUsage = TurnUsage()
    announced: JsonObject | None = None


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
    usage: TurnUsage | None = None


def usage_with(usage: TurnUsage | None, paid: TurnUsage) -> TurnUsage | None:
    """Of the turns that stand and the one that does not; None where no provider has counted anything."""
    if not paid.total:
        return usage
    return paid if usage is None else usage.plus(paid)


def final_resource(
    start: StartResponse, ending: Ending, output: list[JsonObject], usage: TurnUsage | None, ended_at: int
) -> JsonObject:
    """The response as it is stored: the same, whether the workflow or the activity builds it."""
    total = None
    if usage is not None:
        total = Usage(**usage.model_dump())
    return finished_response(
        start.initial(),
        status=ending.status,
        output=output,
        completed_at=ended_at,
        usage=total,
        error=(ending.error_code, ending.error_message) if ending.status == "failed" else None,
        incomplete_reason=ending.incomplete_reason if ending.status == "incomplete" else None,
    )
