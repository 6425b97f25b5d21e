"""Lists the tools of MCP servers and calls them, with the official SDK. Each request has a session of its own.

`activities/tools/mcp.py` imports this module, and the SDK with it, for the first call.

What this prevents: a response that fails or hangs because a server is down, is slow, sends an endless or enormous
answer, or violates the protocol. Every request ends within the time limit, in a result or in one `McpError`. Protocol:
modelcontextprotocol.io, streamable HTTP, and HTTP with SSE for servers from before 2025.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from urllib.parse import urlsplit

import httpx2
import mcp_types
from mcp import Client, MCPError
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from activities.tools.guarded_http import Encoded, ForbiddenAddress, GuardedTransport, TooLarge
from activities.tools.mcp_content import output_of
from activities.tools.mcp_server import McpError, McpServer, McpToolDefinition, McpToolList
from activities.tools.mcp_transport import repairing
from open_responses.contracts import ToolOutput
from open_responses.json_types import JsonObject
from open_responses.tool_use.tool_output import in_words

Result = TypeVar("Result")

MAX_BYTES = 8 * 1024 * 1024
_MAX_TOOLS, _MAX_PAGES = 1000, 20
_MAX_NAME, _MAX_MESSAGE = 128, 2000
# As the SDK bounds it for its own cache.
_MAX_FRESH_SECONDS = 86_400
# The statuses with which servers of the old transport answer a POST on their SSE address.
_MEANS_OLD_TRANSPORT = frozenset({400, 404, 405, 406, 415, 501})
_IDEMPOTENCY_KEY = "open_responses/idempotency_key"
# The protocol passes a trace in `_meta` as well, since not each of its transports has headers.
_TRACEPARENT = "traceparent"
# The SDK gives these codes to errors of its own: the connection closed, nothing came in time, the answer is not
# JSON-RPC. A server that sends one itself cannot be distinguished, so that the outcome of its call counts as unknown.
_MADE_BY_THE_SDK = frozenset({mcp_types.CONNECTION_CLOSED, mcp_types.REQUEST_TIMEOUT, mcp_types.PARSE_ERROR})
_MCP_CONTENT_TYPES = ("application/json", "text/event-stream")
# A proxy may send these although the server has received the call.
_REFUSALS_THAT_SAY_NOTHING = frozenset({408, 429})

# These loggers write addresses, which may contain keys, at level INFO.
for _name in ("mcp", "httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.ERROR)


async def list_tools(server: McpServer, *, timeout_seconds: float) -> McpToolList:
    """All pages, up to 1,000 tools. Tools that no model could call are left out. Raises McpError."""
    return await _in_session(server, timeout_seconds, _list_all, may_start_over=lambda: True)


async def call_tool(
    server: McpServer,
    name: str,
    arguments: JsonObject,
    *,
    timeout_seconds: float,
    idempotency_key: str | None = None,
    on_progress: Callable[[str], None] | None = None,
    on_tools_changed: Callable[[], Awaitable[None]] | None = None,
) -> ToolOutput:
    """The tool's result, as text or as content parts. Raises McpError, `tool_error` for a failure of the tool's own.

    The call is made once at most. `on_tools_changed` is called if the server says meanwhile that its list has changed.
    """
    is_made = False

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        if on_progress is not None:
            on_progress(message or (f"{progress:g} of {total:g}" if total else f"{progress:g}"))

    async def work(client: Client, _: _Watch) -> ToolOutput:
        nonlocal is_made
        is_made = True
        known = {_IDEMPOTENCY_KEY: idempotency_key, _TRACEPARENT: server.headers.get(_TRACEPARENT)}
        meta: Any = {name: value for name, value in known.items() if value} or None
        result = await client.call_tool(name, arguments, progress_callback=progress, meta=meta)
        output = output_of(result)
        if result.is_error:
            raise McpError("tool_error", in_words(output) or "The tool failed without saying why.")
        return output

    seen = _Seen(called=name)
    try:
        return await _in_session(server, timeout_seconds, work, may_start_over=lambda: not is_made, seen=seen)
    except McpError as error:
        error.may_have_run = is_made and not error.is_answer
        raise
    finally:
        if seen.tools_changed and on_tools_changed is not None:
            await on_tools_changed()


@dataclass(slots=True)
class _Seen:
    """The tool that a session calls, and whether the server has said that its list of tools has changed."""

    called: str | None = None
    tools_changed: bool = False

    async def notice(self, message: object) -> None:
        self.tools_changed |= isinstance(message, mcp_types.ToolListChangedNotification)


class _Watch:
    """The observations of the transport, which the SDK above it may have swallowed."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.tripped = asyncio.Event()
        self.refused: int | None = None
        self.posted_first: int | None = None
        # For so many seconds the server lets its list be kept, by the header of its answer.
        self.max_age: int | None = None
        self._called: httpx2.Response | None = None
        self._listed_after_the_call = False

    def answer(self, request: httpx2.Request, response: httpx2.Response) -> None:
        status = response.status_code
        if request.method == "POST":
            if self.posted_first is None:
                self.posted_first = status
            method = _rpc_method(request)
            if method == "tools/call":
                self._called = response
            self._listed_after_the_call |= method == "tools/list" and self._called is not None
            if method == "tools/list":
                self.max_age = _max_age(response.headers.get("cache-control", ""))
        if status >= 400:
            self.refused = status
        if status in (401, 403):
            self.tripped.set()

    def is_answer_to_the_call(self, leaf: BaseException | None) -> bool:
        """Whether the server itself ended the call with a failure. A status or an error for another request of the
        session does not count, such as the list by which the SDK checks the result of a call that has run."""
        if self._called is None or self._listed_after_the_call:
            return False
        status = self._called.status_code
        if 400 <= status < 500:
            return status not in _REFUSALS_THAT_SAY_NOTHING
        if status not in (200, 202) or self.fault is not None or not isinstance(leaf, MCPError):
            return False
        if leaf.code == mcp_types.INVALID_REQUEST:
            # The SDK also uses this code for an answer of an unknown type, and for an answer to no request of its own.
            content_type = self._called.headers.get("content-type", "").lower()
            return status == 200 and content_type.startswith(_MCP_CONTENT_TYPES)
        return leaf.code not in _MADE_BY_THE_SDK

    def found(self, fault: Exception) -> None:
        self.fault = self.fault or fault
        self.tripped.set()


_Work: TypeAlias = Callable[[Client, _Watch], Awaitable[Result]]
_Connect: TypeAlias = Callable[[McpServer, _Watch, float, _Seen], AbstractAsyncContextManager[Client]]


async def _in_session(
    server: McpServer,
    timeout_seconds: float,
    work: _Work[Result],
    *,
    may_start_over: Callable[[], bool],
    seen: _Seen | None = None,
) -> Result:
    """Use the newer transport first. Use the old one if the server's answer shows that it has only that, unless the
    work has begun."""
    began = asyncio.get_running_loop().time()
    seen = seen or _Seen()
    watch = _Watch()
    try:
        return await _bounded(server, watch, timeout_seconds, work, _streamable, seen)
    except McpError as error:
        left = timeout_seconds - (asyncio.get_running_loop().time() - began)
        if watch.posted_first not in _MEANS_OLD_TRANSPORT or not may_start_over() or left <= 0:
            raise
        again = _Watch()
        try:
            return await _bounded(server, again, left, work, _old_transport, seen)
        except McpError as second:
            spoke = again.posted_first is not None and again.posted_first < 400
            raise (second if spoke else error) from None


async def _bounded(
    server: McpServer,
    watch: _Watch,
    timeout_seconds: float,
    work: _Work[Result],
    connect: _Connect,
    seen: _Seen,
) -> Result:
    """Run the work in a task of its own. The task ends with the work, with the first finding of a guard, or at the time
    limit."""

    async def converse() -> Result:
        async with connect(server, watch, timeout_seconds, seen) as client:
            return await work(client, watch)

    conversation = asyncio.create_task(converse())
    tripped = asyncio.create_task(watch.tripped.wait())
    try:
        await asyncio.wait({conversation, tripped}, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        if conversation.done() and conversation.exception() is None:
            return conversation.result()
        failure = conversation.exception() if conversation.done() else None
        error = _mapped(server, watch, failure, timeout_seconds)
        error.is_answer |= watch.is_answer_to_the_call(_leaf(failure))
        raise error from None
    finally:
        tripped.cancel()
        conversation.cancel()
        await asyncio.wait({conversation}, timeout=2)
        if conversation.done() and not conversation.cancelled():
            conversation.exception()


@asynccontextmanager
async def _streamable(server: McpServer, watch: _Watch, timeout_seconds: float, seen: _Seen) -> AsyncIterator[Client]:
    async with _http(server, watch, timeout_seconds)(headers=dict(server.headers)) as http:
        # No DELETE ends the session, because it would cost a round trip for each call.
        transport = streamable_http_client(
            server.url, http_client=http, terminate_on_close=False, max_sse_event_size=MAX_BYTES
        )
        async with Client(repairing(transport, seen.called), cache=None, message_handler=seen.notice) as client:
            yield client


@asynccontextmanager
async def _old_transport(
    server: McpServer, watch: _Watch, timeout_seconds: float, seen: _Seen
) -> AsyncIterator[Client]:
    transport = sse_client(
        server.url,
        headers=dict(server.headers),
        sse_read_timeout=timeout_seconds,
        httpx_client_factory=_http(server, watch, timeout_seconds),
    )
    async with Client(
        repairing(transport, seen.called), mode="legacy", cache=None, message_handler=seen.notice
    ) as client:
        yield client


def _http(server: McpServer, watch: _Watch, timeout_seconds: float) -> Callable[..., httpx2.AsyncClient]:
    """Return a factory of HTTP clients with the signature that the SDK expects."""

    def make(
        headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: httpx2.Auth | None = None
    ) -> httpx2.AsyncClient:
        transport = GuardedTransport(
            allow_private=server.allow_private, max_bytes=MAX_BYTES, on_answer=watch.answer, on_fault=watch.found
        )
        limit = httpx2.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds))
        return httpx2.AsyncClient(
            headers=headers, timeout=limit, auth=auth, transport=transport, follow_redirects=False, trust_env=False
        )

    return make


def _mapped(server: McpServer, watch: _Watch, failure: BaseException | None, timeout_seconds: float) -> McpError:
    """Map every failure to one error. The findings of the transport take precedence."""
    where = f"MCP server {server.label!r}"
    leaf = _leaf(failure)
    if isinstance(leaf, McpError):
        return leaf
    if isinstance(watch.fault, ForbiddenAddress):
        return McpError("forbidden_address", f"{where} is at an address that this server does not let requests reach.")
    if isinstance(watch.fault, TooLarge):
        return McpError("too_large", f"{where} sent more than {MAX_BYTES} bytes.")
    if isinstance(watch.fault, Encoded):
        return McpError("protocol_error", f"{where} sent a compressed answer, which was not asked for.")
    if watch.refused in (401, 403):
        message = f"{where} refused the credentials ({watch.refused})."
        return McpError("http_error", message, status=watch.refused)
    if leaf is None:
        return McpError("timeout", f"{where} did not answer within {timeout_seconds:g} seconds.")
    if watch.refused is not None:
        return McpError("http_error", f"{where} answered with status {watch.refused}.", status=watch.refused)
    if isinstance(leaf, httpx2.TimeoutException):
        return McpError("timeout", f"{where} did not answer in time.")
    if isinstance(leaf, httpx2.TransportError | OSError):
        return McpError("connection_error", f"{where} cannot be reached.")
    if isinstance(leaf, MCPError) and leaf.code == mcp_types.CONNECTION_CLOSED:
        return McpError("connection_error", f"{where}: {_line(leaf.error.message)}")
    if isinstance(leaf, MCPError):
        return McpError("protocol_error", f"{where}: {_line(leaf.error.message)}")
    return McpError("protocol_error", f"{where} does not speak MCP as it should ({type(leaf).__name__}).")


def _rpc_method(request: httpx2.Request) -> object:
    """The JSON-RPC method of a request that the SDK sends; None for its answer to a request of the server's."""
    message = json.loads(request.content)
    return message.get("method") if isinstance(message, dict) else None


def _leaf(failure: BaseException | None) -> BaseException | None:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def _line(text: str) -> str:
    """Return a text as one short line, in which no address has its query."""
    parts = [_without_query(part) for part in str(text).split()]
    return " ".join(parts)[:_MAX_MESSAGE]


def _without_query(word: str) -> str:
    if "://" not in word:
        return word
    parts = urlsplit(word)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


async def _list_all(client: Client, watch: _Watch) -> McpToolList:
    found: dict[str, McpToolDefinition] = {}
    cursor, listed = None, 0
    fresh_for: list[int] = []
    for _ in range(_MAX_PAGES):
        page = await client.list_tools(cursor=cursor)
        listed += len(page.tools)
        hinted = page.ttl_ms // 1000 if "ttl_ms" in page.model_fields_set else None
        fresh_for.append(hinted if hinted is not None else watch.max_age or 0)
        for tool in page.tools:
            definition = _definition(tool)
            if definition is not None and len(found) < _MAX_TOOLS:
                found.setdefault(definition.name, definition)
        cursor = page.next_cursor
        if not cursor:
            break
    if listed and not found:
        raise McpError("protocol_error", "The server lists tools, but none of them is described as MCP demands.")
    return McpToolList(tuple(found.values()), fresh_seconds=min(_MAX_FRESH_SECONDS, *fresh_for))


def _max_age(header: str) -> int | None:
    """The `max-age` of a `Cache-Control` header; None if there is none, or the answer may not be kept."""
    found = {name.strip().lower(): value.strip() for name, _, value in (d.partition("=") for d in header.split(","))}
    if "no-store" in found or "no-cache" in found:
        return None
    seconds = found.get("max-age", "").strip('"')
    return int(seconds) if seconds.isascii() and seconds.isdigit() and len(seconds) < 10 else None


def _definition(tool: mcp_types.Tool) -> McpToolDefinition | None:
    """Return the definition; None for a tool that no model could call."""
    if not tool.name or len(tool.name) > _MAX_NAME or not tool.name.isprintable():
        return None
    notes = tool.annotations.model_dump(mode="json", by_alias=True, exclude_none=True) if tool.annotations else None
    schema = {"type": "object", "properties": {}, **tool.input_schema}
    return McpToolDefinition(tool.name, tool.description, schema, notes)
