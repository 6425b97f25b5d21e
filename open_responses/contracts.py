"""What others implement: a provider, a tool, a middleware. One or two methods each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from open_responses.deltas import Delta, Usage
from open_responses.errors import OpenResponsesError
from open_responses.json_types import JsonObject
from open_responses.schema.items import InputItem
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import FunctionTool, ToolChoice


def _not_counted(_: Usage) -> None:
    """For calls whose usage before their end nobody keeps."""


Resume: TypeAlias = Literal["none", "prefill", "continue_final_message", "background"]


@dataclass(frozen=True, slots=True)
class SampleCall:
    """One turn of the model: everything that an adapter may translate.

    `items` is the whole context, oldest first. `request` carries the sampling settings (temperature, text format …);
    its `input`, `tools` and `tool_choice` are not to be read: `items`, `tools` and `tool_choice` are what counts, with
    hosted and MCP tools as plain functions; `provider_tools` are the provider's own, as the request has them. `prefix`
    is the text of an answer that broke off and is to be continued, `resume_token` stands for one that can be read
    again: for providers that can (`resume_of`). `max_output_tokens` is what is left of the response's budget.
    `api_key` is the request's own, and goes before the configured one.

    `on_usage` takes the tokens that the provider has counted so far: of the whole call each time, so that the last
    report counts. An adapter calls it when its provider counts, which keeps what an answer cost that breaks off, fails
    or is cancelled; of an answer that ends, `Finish.usage` counts.
    """

    model: str
    items: Sequence[InputItem]
    request: CreateResponse
    tools: Sequence[FunctionTool] = ()
    tool_choice: ToolChoice | None = None
    max_output_tokens: int | None = None
    prefix: str | None = None
    resume_token: str | None = None
    provider_tools: Sequence[JsonObject] = ()
    api_key: str | None = field(default=None, repr=False)
    on_usage: Callable[[Usage], None] = field(default=_not_counted, repr=False, compare=False)


class Provider(Protocol):
    """One upstream API. Translates and nothing else: it neither retries nor stores.

    `sample` yields deltas and ends with exactly one `Finish`. It raises the `ProviderError` family of
    `open_responses.errors`, and `InvalidRequest` for what this provider cannot take.
    """

    def resume_of(self, call: SampleCall) -> Resume:
        """How an answer to this call could go on after a crash in its middle."""
        ...

    def sample(self, call: SampleCall) -> AsyncIterator[Delta]: ...


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as its provider lists it: `id` is what a request of that provider would name.

    `created` is in Unix seconds. Both others are None where the provider does not say.
    """

    id: str
    created: int | None = None
    owned_by: str | None = None


@runtime_checkable
class ListsModels(Protocol):
    """What a `Provider` may have besides: its upstream's own list of models, asked for with the configured key."""

    async def list_models(self) -> Sequence[ListedModel]:
        """All that can be sampled, as far as the upstream tells. Raises the `ProviderError` family."""
        ...


@runtime_checkable
class CancelsAnswers(Protocol):
    """What a `Provider` may have besides, where an answer is generated whoever listens (`resume_of`: `background`)."""

    async def cancel(self, call: SampleCall) -> None:
        """End the answer that `call.resume_token` stands for: its response was cancelled, or nobody will read it.

        Called at most once for a sample, and given a few seconds. What it raises is logged and changes nothing.
        """
        ...


class ToolError(Exception):
    """Raised by a hosted tool: final, not tried again; its message is what the model gets to read."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a hosted tool may know of the call that runs it, and how it talks back.

    `heartbeat` tells Temporal that it is alive, with anything worth showing to the operator. `progress` shows a line to
    the operator, and to the client as an `open_responses:tool_progress` event. `is_cancelled` tells a tool that polls;
    one that awaits gets `asyncio.CancelledError`. `attempt` counts from 1.
    """

    response_id: str
    call_id: str
    tool: str
    tenant: str
    attempt: int = 1
    metadata: dict[str, str] = field(default_factory=dict)
    arguments: JsonObject = field(default_factory=dict)
    heartbeat: Callable[..., None] = lambda *_: None
    progress: Callable[[str], None] = lambda _: None
    is_cancelled: Callable[[], bool] = lambda: False

    @property
    def idempotency_key(self) -> str:
        """Stays the same when a crash runs the call again: `{response_id}:{call_id}`."""
        return f"{self.response_id}:{self.call_id}"


ToolOutput: TypeAlias = str | list[JsonObject]
"""Text, or content parts: `input_text`, `input_image`, `input_file`."""


class Tool(Protocol):
    """A hosted tool: runs inside the loop, as an activity of its own.

    `definition` is what the model is told. `call` runs it: raises ToolError for what the model should read at once
    (arguments that do not fit), anything else for what may be tried again.
    """

    definition: FunctionTool

    async def call(self, context: ToolContext) -> ToolOutput: ...


class Counters(Protocol):
    """Numbers that all workers share: what a middleware counts by."""

    async def add(self, name: str, amount: int, *, ttl_seconds: int) -> int:
        """Adds and returns the sum. The count starts anew `ttl_seconds` after it was first added to."""
        ...


class NoCounters:
    """Counts within one process; for tests and programs without a server."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    async def add(self, name: str, amount: int, *, ttl_seconds: int) -> int:
        self.counts[name] = self.counts.get(name, 0) + amount
        return self.counts[name]


@dataclass(frozen=True, slots=True)
class SampleContext:
    """The sample that a middleware wraps. To change what is sent, pass on `replace(context, call=…)`.

    `used` are the tokens of this response before this sample: those of its earlier turns, as the workflow knows them.
    """

    call: SampleCall
    response_id: str
    tenant: str
    turn: int = 1
    attempt: int = 1
    counters: Counters = field(default_factory=NoCounters)
    used: Usage = field(default_factory=Usage)


class Halt(Exception):
    """Raised by a middleware instead of going on: with a message, or with an error.

    Around a sample, `Halt(message="…")` ends it as `completed`, with that text as its last item; around a tool, the
    text takes the place of the result, and the model goes on. `Halt(error=…)` ends it as `failed` from either.
    """

    def __init__(self, message: str | None = None, *, error: OpenResponsesError | None = None) -> None:
        super().__init__(message or str(error))
        self.text = message
        self.error = error


SampleNext: TypeAlias = Callable[[SampleContext], AsyncIterator[Delta]]
ToolNext: TypeAlias = Callable[[ToolContext], Awaitable[ToolOutput]]


class Middleware:
    """Wraps each sample and each hosted or MCP tool call: passes on, changes, answers in its stead, or raises `Halt`.

    Both run inside activities, so they may do I/O, and run again with a higher `context.attempt` when an activity does.
    """

    def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        """An async generator: `async for delta in call_next(context): yield delta`."""
        return call_next(context)

    async def around_tool(self, context: ToolContext, call_next: ToolNext) -> ToolOutput:
        """`return await call_next(context)`. `context.arguments` are those of the model."""
        return await call_next(context)
