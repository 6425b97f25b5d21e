"""The payloads that the API, the workflow and the activities exchange through Temporal.

Each item is in a history once: inputs in `StartResponse`, outputs in `SampleResult`. Inputs of activities have
references and new data, never the conversation, so that each model turn adds a constant amount to history.

The names of fields are data of running responses and stay. A new field has a default, so that older payloads are valid.
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
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.payload import Payload
from open_responses.schema.price import ModelPrice
from open_responses.schema.requests import COST, CreateResponse
from open_responses.schema.response import FinalStatus, finished_response, initial_response
from open_responses.tool_use.hosted_tool import HostedTool

TASK_QUEUE = "open-responses"
WORKFLOW = "ResponseWorkflow"
APPROVAL_WORKFLOW = "ApprovalWorkflow"
SAMPLE = "sample"
FINISH = "finish"
CLOSE_CUT_OFF_SAMPLE = "close_cut_off_sample"
PUBLISH = "publish"
CLAIM_APPROVALS = "claim_approvals"
KEEP_END = "keep_end"
REQUEST_CANCELLATION = "request_cancellation"
PROVIDER_TROUBLE = "provider_trouble"
PATCH_LEVEL = 1
"""The newest level of patches (`workflows/patches.py`)."""


class Target(Payload):
    """A provider, by its name in the configuration, and the provider's name for the model to sample."""

    provider: str
    upstream_model: str
    context_window: int | None = None
    price: ModelPrice | None = Field(default=None, description="The route's own price.")


class Decision(Payload):
    """A person's decision about a stored call. The stored name and arguments run, not those that the client sends."""

    approval_request_id: str
    server_label: str
    name: str
    arguments: str
    approve: bool
    reason: str | None = None

    @classmethod
    def without_call(cls, approval_request_id: str, approve: bool) -> Decision:
        """Yes or no alone, without content."""
        return cls(approval_request_id=approval_request_id, server_label="", name="", arguments="", approve=approve)


class TurnUsage(Payload):
    """The tokens of a model turn, or of several, and their cost.

    `cost_usd` is None if no price is known, and in what earlier versions wrote. `unpriced`: the price of some of the
    tokens is not known, and `cost_usd` is that of the others.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cost_usd: float | None = None
    unpriced: bool = False

    @classmethod
    def of(cls, usage: Usage) -> TurnUsage:
        return cls(**asdict(usage))

    @classmethod
    def shown(cls, usage: JsonObject) -> TurnUsage:
        """The tokens in a response resource, whose cost is not known."""
        return cls(
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            cached_tokens=usage["input_tokens_details"]["cached_tokens"],
            cache_write_tokens=usage["input_tokens_details"].get("cache_write_tokens", 0),
            reasoning_tokens=usage["output_tokens_details"]["reasoning_tokens"],
            estimated=usage.get("open_responses:estimated", False),
            unpriced=True,
        )

    def plus(self, other: TurnUsage) -> TurnUsage:
        return TurnUsage.of(Usage(**self.model_dump()).plus(Usage(**other.model_dump())))

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def whole_cost(self) -> float | None:
        """The cost of all the tokens, in US dollars; None if a part of it is not known."""
        return None if self.unpriced else self.cost_usd

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
    """The share of its API key's limits that a response holds while it runs: one slot, and an estimate of its tokens.

    Attributes:
        account: The key's account in the limits.
        budget_period: The period of the key's budget.
        budget_tokens: The key's budget; 0 for none.
        budget_usd: The key's budget in US dollars; 0 for none.
        tokens: An estimate of the tokens that the first model turn sends.
        second: The Unix second in which they were counted; 0 if the response was admitted during an outage of Redis.
    """

    account: str
    budget_period: Literal["day", "month"] = "month"
    budget_tokens: int = 0
    budget_usd: float = 0
    tokens: int = 0
    second: int = 0


class RememberedExchange(Payload):
    """The input and the output of one response that is not stored as a response of its own."""

    input: list[JsonObject]
    output: list[JsonObject]


class Remembered(Payload):
    """The part of a conversation that is not stored as responses: of a connection's memory, or of `/v1/conversations`.

    The start of the response that continues it carries it, so that a worker can continue after a crash with nothing
    else.

    Attributes:
        after: The stored response before the exchanges, with its chain; None if the exchanges are the whole
            conversation.
        conversation_id: The conversation whose files `pieces` are.
        pieces: Files with the exchanges before `turns` (`io/store/conversation_pieces.py`).
        turns: The exchanges, oldest first.
    """

    after: str | None = None
    conversation_id: str | None = None
    pieces: list[str] = []
    turns: list[RememberedExchange] = []


class Carried(Payload):
    """The state that one run of the workflow passes to the next (continue-as-new), between two model turns.

    `stop` is an ending that was requested meanwhile. Workers of earlier versions write `cancelled` instead.
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
    attempts: int = 0
    first_token_at: float | None = None
    stop: Ending | None = None
    cancelled: bool = False


class StartResponse(Payload):
    """The input of the response's workflow.

    Attributes:
        response_id: The id of the response and of its workflow.
        tenant: The owner.
        created_at: Unix seconds.
        request: The request as the API accepted it.
        provider: The provider of the route, by its name in the configuration.
        upstream_model: The provider's name for the model.
        context_window: The model's window in tokens; None where it is unknown.
        price: The route's own price, which stays in force for the response.
        fallbacks: Tried in order while the provider stays down.
        provider_key: The provider key in the request, sealed.
        is_compaction: The output is a summary of the conversation, and no answer.
        results_in_order: Of tools that run in parallel, the first result wakes the workflow first. False in starts of
            earlier versions, which replay as they ran.
        repeats_alike: A workflow task that Temporal repeats publishes and ends as it did the first time, also with the
            events that arrived meanwhile. False in starts of earlier versions.
        has_search_attributes: Temporal's namespace knows all search attributes of this version, and the run sets them.
            False in starts of earlier versions, which replay as they ran.
        ends_alike: The run of a failed response fails in Temporal, and that of a cancelled one is cancelled. False in
            starts of earlier versions, whose runs complete.
        keeps_usage: The run's memo has what the response used. False in starts of earlier versions.
        patch_level: The levels of patches that the run knows from its start (`workflows/patches.py`). 0 in starts of
            earlier versions, whose histories name each patch.
        body_digest: With an `Idempotency-Key`: the digest of the body that it was first sent with.
        nonce: With an `Idempotency-Key`: distinguishes this start from others under the same key.
        admitted: The share of the API key's limits, which the end of the response returns.
        context_tokens: An estimate of the tokens that the first model turn sends, with the context that it continues;
            0 where no key's limits apply.
        hosted: The hosted tools that the response may call.
        secrets: The headers and tokens of the request's MCP servers, by label, sealed.
        decisions: The approvals in the request.
        max_turns: The most model turns.
        deadline_seconds: Counts from the start of the response.
        remembered: The conversation, or the responses before this one that are not stored.
        earlier_bytes: The length, as JSON, of the stored context that this response continues; None in starts of
            earlier versions.
        request_id: The `X-Request-Id` of the request, for log lines and traces.
        traceparent: The trace of the request (`open_responses/io/telemetry/trace_context.py`); None if it is in none.
        accepted_at: The time at which the request was accepted, in Unix seconds; None in starts of earlier versions.
        carried: The state of the run before this one.
    """

    response_id: str
    tenant: str
    created_at: int
    request: CreateResponse
    provider: str
    upstream_model: str
    retry_window: float = Field(description="Seconds without progress after which a sample gives up.")
    context_window: int | None = None
    price: ModelPrice | None = None
    fallbacks: list[Target] = []
    provider_key: str | None = None
    is_compaction: bool = False
    results_in_order: bool = False
    repeats_alike: bool = False
    has_search_attributes: bool = False
    ends_alike: bool = False
    keeps_usage: bool = False
    patch_level: int = 0
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
    request_id: str | None = None
    traceparent: str | None = None
    accepted_at: float | None = None
    carried: Carried | None = None
    accepted_input: list[JsonObject] | None = Field(
        default=None,
        exclude=True,
        description="The request's input items as JSON, and `request.input` is empty. Never written: see `_as_sent`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _accepted_input_stays_json(cls, given: Any) -> Any:
        """Keeps the input as JSON. The API has validated it, and a process that built its models again would take up to
        ten times as long as to read the JSON (docs/decisions/0030)."""
        request = given.get("request") if isinstance(given, dict) else None
        if isinstance(request, dict) and isinstance(request.get("input"), list):
            return {**given, "request": {**request, "input": ""}, "accepted_input": request["input"]}
        return given

    @field_serializer("request")
    def _as_sent(self, request: CreateResponse) -> JsonObject:
        # Fields that the client did not set stay unset: a null may mean something else, and each would take space.
        sent = request.model_dump(mode="json", exclude_unset=True)
        return sent if self.accepted_input is None else {**sent, "input": self.accepted_input}

    def with_accepted_input(self) -> StartResponse:
        """A copy with the input's items as JSON, for a start that is written more than once."""
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
        """The route's own target, then its fallbacks."""
        own = Target(
            provider=self.provider,
            upstream_model=self.upstream_model,
            context_window=self.context_window,
            price=self.price,
        )
        return [own, *self.fallbacks]

    @property
    def has_input(self) -> bool:
        """False for a request that compacts or continues a chain without an input of its own."""
        if self.accepted_input is not None:
            return bool(self.accepted_input)
        return self.request.input != [] and not (self.is_compaction and self.request.input == "")

    def input_items(self) -> list[InputItem]:
        """The request's own input. A long one takes a second, so do not call this on an event loop."""
        if not self.has_input:
            return []
        if self.accepted_input is None:
            return self.request.input_items()
        return [INPUT_ITEM.validate_python(item) for item in self.accepted_input]

    def initial(self) -> JsonObject:
        """The response resource before its first item."""
        status: Literal["queued", "in_progress"] = "queued" if self.request.is_background else "in_progress"
        return initial_response(
            self.request,
            response_id=self.response_id,
            created_at=self.created_at,
            status=status,
            hosted=[tool.name for tool in self.hosted],
        )


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


class PublishInput(Payload):
    """The input of a publication: events that the workflow adds to the log.

    Attributes:
        initial: The response resource before its first item.
        first_sequence: The sequence number of the first event.
        events: The events.
        items: The items that the events complete, by output index.
        output: The output so far. Set, with `trace`, only if the log has lost its earlier events; they are written
            again.
        trace: How the output was cut into events.
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
    """The outcome of a publication.

    `log_lost`: the log has fewer events than it should, and the workflow publishes again with the output. `fenced`: the
    log has a newer writer. `diverged`: an earlier run of this workflow task has published other events; `there` are the
    events of the log from `first_sequence` on. `ended`: the response has an end that this run did not write.
    """

    outcome: PublishOutcome
    there: list[JsonObject] = []


class ApprovalAnswer(Payload):
    """The argument of the update `answer_approval`: a person's decision about a call that the workflow holds."""

    approval_request_id: str
    approve: bool
    reason: str | None = None


class ApprovalClaim(Payload):
    """A used approval, and the response that used it.

    The record outlives both responses, also if they are deleted. It therefore has no content: the call and the person's
    reason are left out. `decision` keeps its fields, because processes of earlier versions write and read them all.
    `nonce` is that of the response's start (`StartResponse`); None in claims of earlier versions.
    """

    response_id: str
    decision: Decision
    nonce: str | None = None

    @classmethod
    def of(cls, response_id: str, decision: Decision, nonce: str | None) -> ApprovalClaim:
        """The claim without content."""
        kept = Decision.without_call(decision.approval_request_id, decision.approve)
        return cls(response_id=response_id, decision=kept, nonce=nonce)

    def agrees_with(self, own: ApprovalClaim) -> bool:
        """Whether both claims are of the same response, with the same decision.

        The id of a response with an `Idempotency-Key` follows from the key, so a later response may get the id of one
        that was deleted or has expired. Only the nonce distinguishes the two.
        """
        if (self.response_id, self.decision.approve) != (own.response_id, own.decision.approve):
            return False
        return self.nonce is None or own.nonce is None or self.nonce == own.nonce


class ClaimInput(Payload):
    """The input of the activity that claims approvals for a response that has begun: those in its request, or a live
    answer's. `nonce` is that of its start."""

    response_id: str
    decisions: list[Decision]
    nonce: str | None = None


class ClaimResult(Payload):
    """`refused`: the ids of the approvals that another response has used."""

    refused: list[str] = []


USAGE_MEMO = "open_responses_usage"
"""The name of a `UsageRecord` in the memo of a run that has ended."""


class UsageRecord(Payload):
    """What a response that has ended used, for the counts of usage. `created_at` is in Unix seconds."""

    response_id: str
    tenant: str
    model: str
    created_at: int
    status: str
    usage: TurnUsage | None = None

    @classmethod
    def of(cls, start: StartResponse, status: str, usage: TurnUsage | None) -> UsageRecord:
        return cls(
            response_id=start.response_id,
            tenant=start.tenant,
            model=start.request.model,
            created_at=start.created_at,
            status=status,
            usage=usage,
        )


class FinishInput(Payload):
    """The input of `finish`, which stores the response, then appends its terminal event.

    Attributes:
        cut_off: A sample was stopped within its answer, so only the log has its last events.
        usage: The tokens of the complete model turns.
        ended_at: Unix seconds.
        has_diverged: The log has other events than `trace`. The log counts, since clients have read it.
        was_cut_off: A sample was cut off, and `output` has its items already.
        turn: The number of the model turn that is not complete.
        paid: The tokens that are known of it.
        attempts: The attempts at all model turns that the workflow knows of.
        provider: The provider of the newest attempt.
        first_token_at: The time at which a model first brought content, in Unix seconds.
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
    attempts: int = 0
    provider: str | None = None
    first_token_at: float | None = None


class FinishResult(Payload):
    """The part of the response that only the log has.

    Attributes:
        items: The items of a sample that was cut off.
        trace: Its trace, up to the end.
        paid: The tokens of the model turn that is not complete.
        announced: Set if the response had an end already, or if the log has other events than the workflow. It is the
            response that the log's events amount to, and `trace` is that of the whole log.
        usage: The tokens and cost of the response that was announced.
    """

    items: list[JsonObject] = []
    trace: list[Op] = []
    paid: TurnUsage = TurnUsage()
    announced: JsonObject | None = None
    usage: TurnUsage | None = None


class FinishedResponse(Payload):
    """The result of the workflow: what `GET`, a replay of the stream and a later response read.

    `usage` has the cost, which the response shows only on request; None in results of earlier versions.
    """

    response: JsonObject
    trace: list[Op]
    usage: TurnUsage | None = None

    def used_by(self, start: StartResponse) -> UsageRecord:
        """What the response used. Of a response of an earlier version, the tokens are known, and not the cost."""
        usage = self.usage
        if usage is None and self.response["usage"] is not None:
            usage = TurnUsage.shown(self.response["usage"])
        return UsageRecord.of(start, self.response["status"], usage)


class Progress(Payload):
    """The result of the workflow's `progress` query: enough to rebuild the log and the record that Redis lost."""

    start: StartResponse
    status: ResponseStatus
    output: list[JsonObject]
    trace: list[Op]
    turn: int
    usage: TurnUsage | None = None


def usage_with(usage: TurnUsage | None, paid: TurnUsage) -> TurnUsage | None:
    """The tokens of the complete model turns and of the incomplete one; None if no provider has counted any."""
    if not paid.total:
        return usage
    return paid if usage is None else usage.plus(paid)


def final_resource(
    start: StartResponse, ending: Ending, output: list[JsonObject], usage: TurnUsage | None, ended_at: int
) -> JsonObject:
    """The final response resource. The workflow and the activity build the same."""
    total = None
    if usage is not None:
        total = Usage(**usage.model_dump())
    response = finished_response(
        start.initial(),
        status=ending.status,
        output=output,
        completed_at=ended_at,
        usage=total,
        error=(ending.error_code, ending.error_message) if ending.status == "failed" else None,
        incomplete_reason=ending.incomplete_reason if ending.status == "incomplete" else None,
    )
    if usage is not None and COST in (start.request.include or []):
        response["usage"]["cost_usd"] = usage.whole_cost
    return response
