"""What others implement: a provider, a tool, a middleware. One or two methods each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from open_responses.deltas import Delta
from open_responses.items import InputItem
from open_responses.json_types import JsonObject
from open_responses.requests import CreateResponse

Resume: TypeAlias = Literal["none", "prefill", "continue_final_message", "background"]


@dataclass(frozen=True, slots=True)
class SampleCall:
    """One turn of the model: everything that an adapter may translate.

    `items` is the whole context, oldest first. `request` carries the sampling settings (temperature, tools, text
    format …); its `input` is not to be read, `items` is what counts. `prefix` is the text of an answer that broke off
    and is to be continued, for providers that can. `max_output_tokens` is what is left of the response's budget.
    """

    model: str
    items: Sequence[InputItem]
    request: CreateResponse
    max_output_tokens: int | None = None
    prefix: str | None = None


class Provider(Protocol):
    """One upstream API. Translates and nothing else: it neither retries nor stores.

    `sample` yields deltas and ends with exactly one `Finish`. It raises the `ProviderError` family of
    `open_responses.errors`, and `InvalidRequest` for what this provider cannot take.
    """

    resume: Resume

    def sample(self, call: SampleCall) -> AsyncIterator[Delta]: ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """What a hosted tool may know of the call that runs it."""

    response_id: str
    call_id: str
    tenant: str
    attempt: int
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def idempotency_key(self) -> str:
        """Stays the same when a crash runs the call again: `{response_id}:{call_id}`."""
        return f"{self.response_id}:{self.call_id}"


class Tool(Protocol):
    """A hosted tool: runs inside the loop, as an activity of its own."""

    name: str

    async def call(self, arguments: JsonObject, context: ToolContext) -> str: ...


@dataclass(frozen=True, slots=True)
class SampleContext:
    """What a middleware may know of the sample that it wraps."""

    response_id: str
    tenant: str
    turn: int
    attempt: int


SampleNext: TypeAlias = Callable[[SampleCall], AsyncIterator[Delta]]
ToolNext: TypeAlias = Callable[[JsonObject], Awaitable[str]]


class Middleware(Protocol):
    """Wraps each sample and each tool call; passes on, changes, or answers in its stead."""

    def around_sample(
        self, context: SampleContext, call: SampleCall, call_next: SampleNext
    ) -> AsyncIterator[Delta]: ...

    async def around_tool(self, context: ToolContext, arguments: JsonObject, call_next: ToolNext) -> str: ...
