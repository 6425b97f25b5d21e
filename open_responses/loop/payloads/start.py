"""The input of a response's workflow."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, field_serializer, model_validator

from open_responses.events.trace import Op
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.approvals import Decision
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.programs import ResumedProgram, SuspendedProgram
from open_responses.loop.payloads.steering import Steer
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.models.omissions import Omitted
from open_responses.schema.items import INPUT_ITEM, InputItem
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.payload import Payload
from open_responses.schema.price import ModelPrice
from open_responses.schema.requests import CreateResponse
from open_responses.schema.response import initial_response
from open_responses.tool_use.built_in import BuiltInTool, OfferedBuiltIn, offered_built_ins
from open_responses.tool_use.code_functions import CODE_INTERPRETER, INPUT_FILES, WHOLE_PYTHON
from open_responses.tool_use.hosted_tool import HostedTool
from open_responses.webhooks.endpoints import WebhookTarget

PATCH_LEVEL = 4
"""The newest level of patches (`workflows/patches.py`)."""


class Target(Payload):
    """A provider, by its name in the configuration, and the provider's name for the model to sample."""

    provider: str
    upstream_model: str
    context_window: int | None = None
    price: ModelPrice | None = Field(default=None, description="The route's own price.")
    omitted: Omitted | None = Field(default=None, description="What this provider lacks of the request.")
    run_here: list[int] = Field(
        default=[], description="The indexes of the built-in tools in the request that this server runs."
    )


def members_of_now(targets: Sequence[Target]) -> dict[str, Any]:
    """The members of every start that this version makes: its targets, in their order, and the rules of its workflow.

    Workers of later versions read from the rules which commands the workflow's history has.
    """
    first, *fallbacks = targets
    return {
        **{name: getattr(first, name) for name in Target.model_fields},
        "fallbacks": fallbacks,
        "results_in_order": True,
        "repeats_alike": True,
        "ends_alike": True,
        "keeps_usage": True,
        "patch_level": PATCH_LEVEL,
    }


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
    """The state that one run of the workflow passes to the next (continue-as-new).

    It does so between two model turns, or between two calls of a program.

    `stop` is an ending that was requested meanwhile. Workers of earlier versions write `cancelled` instead.
    `programs` are those that are not at their end, and `then` the ending that follows them. `steers` are the messages
    that wait for the next model turn; `steered` has the digests of all so far, by id, and `unfit` the fallbacks that
    cannot take a part of them.
    `agent_calls` counts the calls of each agent, and `agents_usage` sums the usage of all.
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
    reported: JsonObject | None = None
    stop: Ending | None = None
    cancelled: bool = False
    programs: list[SuspendedProgram] = []
    then: Ending | None = None
    steers: list[Steer] = []
    steered: dict[str, str] = {}
    unfit: list[int] = []
    agent_calls: dict[str, int] = {}
    agents_usage: TurnUsage | None = None


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
        omitted: What the provider lacks of the request; None for nothing.
        run_here: The indexes of the built-in tools in the request that this server runs for the provider.
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
        built_in: The built-in tools that this server runs for one of the targets.
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
        webhooks: Where the events of the response are sent.
        scheduled_run: The workflow of the schedule's run that started the response; None for any other.
        programs: The programs of an earlier response that go on in this one. Not set in starts of earlier versions
            (`programs_ask`).
        input_files: The files of `/v1/files` that the request's input names, if code may read them.
        container_id: The container of the newest call of the code interpreter in what the response continues, if such
            calls need an approval.
        agent_of: The response whose call this response answers, as its agent; None for a client's.
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
    omitted: Omitted | None = None
    run_here: list[int] = []
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
    built_in: list[BuiltInTool] = []
    secrets: dict[str, str] = {}
    decisions: list[Decision] = []
    max_turns: int = 100
    deadline_seconds: float | None = None
    remembered: Remembered | None = None
    earlier_bytes: int | None = None
    request_id: str | None = None
    traceparent: str | None = None
    accepted_at: float | None = None
    webhooks: list[WebhookTarget] = []
    scheduled_run: str | None = None
    programs: list[ResumedProgram] = []
    input_files: list[str] = []
    container_id: str | None = None
    agent_of: str | None = None
    carried: Carried | None = None
    accepted_input: list[JsonObject] | None = Field(
        default=None,
        exclude=True,
        description="The request's input items as JSON, and `request.input` is empty. Never written: see `_as_sent`.",
    )

    @model_validator(mode="before")
    @classmethod
    def _accepted_input_stays_json(cls, given: Any) -> Any:
        """Keeps the input as JSON.

        The API has validated it, and a process that built its models again would take up to ten times as long as to
        read the JSON (docs/decisions/0030).
        """
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
    def programs_ask(self) -> bool:
        """Whether programs ask for the approval of their calls.

        Versions that refused such calls wrote no `programs` into a start, and later ones always do.
        """
        return "programs" in self.model_fields_set

    @property
    def has_mcp(self) -> bool:
        """Whether the request has MCP servers."""
        return any(isinstance(tool, McpTool) for tool in self.request.tools or [])

    @property
    def targets(self) -> list[Target]:
        """The route's own target, then its fallbacks."""
        own = Target(
            provider=self.provider,
            upstream_model=self.upstream_model,
            context_window=self.context_window,
            price=self.price,
            omitted=self.omitted,
            run_here=self.run_here,
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

    def omitted_for(self, fallback: int) -> Omitted:
        """What the provider in use lacks of the request. `fallback` is 0 for the route's own."""
        return self.targets[fallback].omitted or Omitted()

    def built_ins_for(self, fallback: int) -> list[OfferedBuiltIn]:
        """The built-in tools that this server runs for the provider in use."""
        return self.offered(self.targets[fallback].run_here)

    def offered(self, run_here: Collection[int]) -> list[OfferedBuiltIn]:
        """The built-in tools with these indexes in the request."""
        if not run_here:
            return []
        closed = {tool.name: tool.closed for tool in self.built_in}
        return [self._with_own_settings(one) for one in offered_built_ins(self.request, run_here, closed)]

    def _with_own_settings(self, one: OfferedBuiltIn) -> OfferedBuiltIn:
        """The tool with what only the start knows of it."""
        if one.row.name != CODE_INTERPRETER:
            return one
        more: JsonObject = {INPUT_FILES: self.input_files} if self.input_files else {}
        if any(tool.name == CODE_INTERPRETER and tool.is_whole_python for tool in self.built_in):
            more[WHOLE_PYTHON] = True
        return replace(one, settings={**one.settings, **more})

    def initial(self, fallback: int = 0) -> JsonObject:
        """The response resource before its first item, with the provider in use (`omitted_for`)."""
        omitted = self.omitted_for(fallback)
        status: Literal["queued", "in_progress"] = "queued" if self.request.is_background else "in_progress"
        return initial_response(
            self.request,
            response_id=self.response_id,
            created_at=self.created_at,
            status=status,
            hosted=[tool.name for tool in self.hosted],
            omitted_tools=omitted.tools,
            omitted_parameters=omitted.parameters,
        )
