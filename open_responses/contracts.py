"""The contracts that extensions implement: provider, tool and middleware. Each has one or two methods."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from open_responses.deltas import Delta, Usage
from open_responses.errors import OpenResponsesError
from open_responses.json_types import JsonObject
from open_responses.schema.items import InputItem
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tool_choice import ToolChoice
from open_responses.schema.tools import FunctionTool


def _not_counted(_: Usage) -> None:
    """Discard a report of usage: the default of `SampleCall.on_usage`."""


Resume: TypeAlias = Literal["none", "prefill", "continue_final_message", "background"]


def _not_kept(_: Sequence[str]) -> None:
    """Discard what was not read: the default of `SampleCall.on_unread`."""


@dataclass(frozen=True, slots=True)
class SampleCall:
    """The input of one sample: everything that an adapter may translate.

    Attributes:
        model: The provider's name of the model.
        items: The whole context, oldest item first.
        request: The request with the sampling settings (temperature, text format …). Do not read its `input`, `tools`
            and `tool_choice`: the fields of this class replace them.
        tools: The functions that the model may call, hosted and MCP tools included.
        tool_choice: The choice among `tools`; None for the provider's default.
        max_output_tokens: The rest of the response's budget of output tokens; None for no limit.
        prefix: The text of an interrupted answer that this call continues; None for a new answer.
        resume_token: The token of an interrupted answer that this call reads again (`ResumeToken`); None for a new one.
        provider_tools: The provider's built-in tools, as the request has them.
        api_key: The request's own key, which takes precedence over the configured one.
        on_usage: Takes the tokens that the provider has counted so far, each time of the whole call: the last report
            counts. Call it whenever the provider counts, so that the cost of an answer that breaks off, fails or is
            cancelled is kept. For an answer that ends, `Finish.usage` counts.
        on_unread: Takes descriptions of events of which the adapter could make nothing, or of those of an answer
            without any content. They have no texts, because the server logs them. An adapter need not call it.
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
    on_unread: Callable[[Sequence[str]], None] = field(default=_not_kept, repr=False, compare=False)


class Provider(Protocol):
    """An adapter of one upstream API. It translates; it neither retries nor stores."""

    def resume_of(self, call: SampleCall) -> Resume:
        """Return how an answer to this call can continue after a crash within it.

        Args:
            call: The call whose answer may be interrupted.

        Returns:
            `none` (sample again), `prefill` or `continue_final_message` (continue behind `SampleCall.prefix`), or
            `background` (read the same answer again with `SampleCall.resume_token`).
        """
        ...

    def sample(self, call: SampleCall) -> AsyncIterator[Delta]:
        """Sample the model once.

        Args:
            call: The context, tools and settings.

        Returns:
            The deltas of the answer. The last one is the only `Finish`.

        Raises:
            ProviderError: The provider failed. The subclass decides whether the sample is attempted again.
            InvalidRequest: The provider cannot take this request.
        """
        ...


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model as its provider lists it.

    Attributes:
        id: The name of the model in requests to that provider.
        created: When the model was created, in Unix seconds; None if the provider does not say.
        owned_by: The owner's name; None if the provider does not say.
    """

    id: str
    created: int | None = None
    owned_by: str | None = None


@runtime_checkable
class ListsModels(Protocol):
    """An optional part of a `Provider`: lists the upstream's models, with the configured key."""

    async def list_models(self) -> Sequence[ListedModel]:
        """Return every model that can be sampled, as far as the upstream says.

        Raises:
            ProviderError: The upstream failed, or its list cannot be read.
        """
        ...


@runtime_checkable
class CancelsAnswers(Protocol):
    """An optional part of a `Provider` that generates answers in the background (`resume_of`: `background`)."""

    async def cancel(self, call: SampleCall) -> None:
        """Cancel the answer of `call.resume_token`, because its response was cancelled or will not read it.

        The server calls this at most once for a sample and waits a few seconds for it. It logs any exception and
        continues.

        Args:
            call: The call that was sampled, with its `resume_token`.
        """
        ...


class ToolError(Exception):
    """A final error of a hosted tool. The call is not attempted again, and the model reads the message."""


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The call that a hosted tool runs.

    Attributes:
        response_id: The response that the call is part of.
        call_id: The id of the call.
        tool: The name of the tool.
        tenant: The tenant that owns the response.
        attempt: The number of this attempt, from 1.
        metadata: The `metadata` of the request.
        arguments: The arguments that the model wrote.
        heartbeat: Records in Temporal that the tool is running, with details for the operator.
        progress: Publishes a line of text to the operator, and to the client as an `open_responses:tool_progress`
            event.
        is_cancelled: Whether the call was cancelled, for a tool that polls. A tool that awaits gets
            `asyncio.CancelledError`.
        traceparent: The W3C `traceparent` header with which the tool continues the trace in the servers that it calls;
            None outside of a trace.
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
    traceparent: str | None = None

    @property
    def idempotency_key(self) -> str:
        """A key that is the same in every attempt of the call: `{response_id}:{call_id}`."""
        return f"{self.response_id}:{self.call_id}"


ToolOutput: TypeAlias = str | list[JsonObject]
"""The result of a tool: text, or a list of content parts (`input_text`, `input_image`, `input_file`)."""


class Tool(Protocol):
    """A hosted tool. It runs inside the loop, as an activity of its own.

    Attributes:
        definition: The name, description and parameters that the model reads.
    """

    definition: FunctionTool

    async def call(self, context: ToolContext) -> ToolOutput:
        """Run the tool once.

        Args:
            context: The call, its arguments, and the way to report progress.

        Returns:
            Text, or content parts.

        Raises:
            ToolError: A final error, such as arguments that do not fit. The model reads its message.
            Exception: Any other error. The call may be attempted again.
        """
        ...


class Counters(Protocol):
    """Counters that all workers share, for middlewares."""

    async def add(self, name: str, amount: int, *, ttl_seconds: int) -> int:
        """Add to a counter and return the sum.

        Args:
            name: The counter's name.
            amount: The number to add; 0 reads the counter.
            ttl_seconds: Seconds after the first addition at which the counter starts from 0 again.
        """
        ...


class NoCounters:
    """Counters within one process, for tests and programs without a server. They never expire."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    async def add(self, name: str, amount: int, *, ttl_seconds: int) -> int:
        """Add to a counter and return the sum."""
        self.counts[name] = self.counts.get(name, 0) + amount
        return self.counts[name]


@dataclass(frozen=True, slots=True)
class SampleContext:
    """The sample that a middleware wraps. To change the call, pass on `replace(context, call=…)`.

    Attributes:
        call: The input of the sample.
        response_id: The response that the sample is part of.
        tenant: The tenant that owns the response.
        turn: The number of the model turn, from 1.
        attempt: The number of the attempt at this turn, from 1.
        counters: Counters that all workers share.
        used: The tokens of the response's earlier turns.
    """

    call: SampleCall
    response_id: str
    tenant: str
    turn: int = 1
    attempt: int = 1
    counters: Counters = field(default_factory=NoCounters)
    used: Usage = field(default_factory=Usage)


class Halt(Exception):
    """An exception with which a middleware ends a sample or a tool call.

    Around a sample, `Halt(message="…")` ends the response as `completed`, with that text as its last item. Around a
    tool, the text replaces the result, and the model continues. `Halt(error=…)` ends the response as `failed` from
    either.

    Args:
        message: The text for the client or the model.
        error: The error of the failed response.
    """

    def __init__(self, message: str | None = None, *, error: OpenResponsesError | None = None) -> None:
        super().__init__(message or str(error))
        self.text = message
        self.error = error


SampleNext: TypeAlias = Callable[[SampleContext], AsyncIterator[Delta]]
ToolNext: TypeAlias = Callable[[ToolContext], Awaitable[ToolOutput]]


class Middleware:
    """Wraps each sample and each hosted or MCP tool call. It may change the call, replace the answer, or raise `Halt`.

    Both methods run inside activities, so they may do I/O. When Temporal runs the activity again, they run again with a
    higher `context.attempt`.
    """

    def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        """Wrap one sample. Override it with an async generator.

        Args:
            context: The sample.
            call_next: Samples through the rest of the chain: `async for delta in call_next(context): yield delta`.

        Returns:
            The deltas of the answer.
        """
        return call_next(context)

    async def around_tool(self, context: ToolContext, call_next: ToolNext) -> ToolOutput:
        """Wrap one tool call.

        Args:
            context: The call. Its `arguments` are those that the model wrote.
            call_next: Runs the call through the rest of the chain: `return await call_next(context)`.

        Returns:
            The result that the model reads.
        """
        return await call_next(context)
