"""Activities of MCP servers: list a server's tools, once per chain or conversation, and call them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import orjson
import structlog
from pydantic_core import PydanticCustomError
from temporalio import activity
from temporalio.service import RPCError

from activities.tool_calls.runner import ToolRunner
from activities.tools.mcp import call_tool, list_tools
from activities.tools.mcp_server import McpError, McpServer, McpToolDefinition
from activities.worker.cancellation_registry import current_activity
from open_responses.config import Config
from open_responses.config_tables.tools import McpServerConfig
from open_responses.contracts import ToolContext, ToolError, ToolOutput
from open_responses.errors import SchemaTooComplex, Unavailable
from open_responses.ids import position_of
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.sealing import SealBroken, Sealer
from open_responses.io.store.records import Record
from open_responses.io.store.repository import Records
from open_responses.io.telemetry.activities import for_response, mcp_request, trace_headers
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.names import CALL_MCP_TOOL, LIST_MCP_TOOLS
from open_responses.loop.payloads.start import Remembered, StartResponse
from open_responses.loop.payloads.tool_calls import MAY_TRY_AGAIN, McpCallInput, McpListInput, McpListResult, ToolResult
from open_responses.schema.json_schema_cost import SchemaBudget, SchemaTooCostly
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.tools import looks_like_a_schema
from open_responses.tool_use.json_safety import writing_problem
from open_responses.tool_use.mcp_functions import may_run_twice
from open_responses.tool_use.tool_output import DO_NOT_REPEAT, OUTCOME_UNKNOWN, in_words

log = structlog.get_logger(__name__)

_LIST_SECONDS = 20.0
_CALL_SECONDS = 60.0


@dataclass(slots=True)
class McpActivities:
    """Both activities, with the clients that they use. Secrets are unsealed here, and sent only to their server."""

    runner: ToolRunner
    records: Records
    redis: Redis
    sealer: Sealer
    schema_checks: SchemaChecks
    config: Config
    environ: Mapping[str, str]

    @activity.defn(name=LIST_MCP_TOOLS)
    async def list_tools(self, call: McpListInput) -> McpListResult:
        """List the server's tools: from the context, from the cache, or from the server."""
        named = current_activity()
        self.runner.lease.began(named)
        try:
            with for_response(call.response_id, call.request_id, call.traceparent):
                return await self._tools(call)
        except (McpError, ToolError) as error:
            log.info("mcp_list_failed", response_id=call.response_id, label=call.server_label, reason=str(error))
            return McpListResult(outcome="failed", error=str(error))
        finally:
            self.runner.lease.ended(named)

    async def _tools(self, call: McpListInput) -> McpListResult:
        record = await self._record(call.response_id)
        if await self._is_known(record, call.server_label):
            return McpListResult(outcome="done", known=True)
        server = self._server(record.start, call.server_label)
        return McpListResult(outcome="done", tools=await self._listed(server, call.tenant))

    @activity.defn(name=CALL_MCP_TOOL)
    async def call_tool(self, call: McpCallInput) -> ToolResult:
        """Call a tool. A call that did not reach the server, or may run twice, fails with MAY_TRY_AGAIN; every other
        failure is an output for the model."""

        async def run(context: ToolContext) -> ToolOutput:
            record = await self._record(context.response_id)
            server = self._server(record.start, call.server_label)
            if call.may_have_run and not await self._may_run_twice(server, context.tenant, call.tool):
                lost = f"The worker that called {call.tool!r} was lost, and the call was not made again."
                raise ToolError(f"{lost} {OUTCOME_UNKNOWN} {DO_NOT_REPEAT}")
            try:
                with _counted(call.server_label, "call_tool"), mcp_request("tools/call", call.server_label, call.tool):
                    return await call_tool(
                        _in_trace(server),
                        call.tool,
                        context.arguments,
                        timeout_seconds=self._call_seconds(call.server_label),
                        idempotency_key=context.idempotency_key,
                        on_progress=context.progress,
                        on_tools_changed=lambda: self._forget_list(server, context.tenant),
                    )
            except McpError as error:
                if not error.may_have_run:
                    if error.retryable:
                        raise Unavailable(error.message, code=MAY_TRY_AGAIN) from error
                    raise ToolError(error.message) from error
                message = f"{error.message} {OUTCOME_UNKNOWN}"
                if not await self._may_run_twice(server, context.tenant, call.tool):
                    raise ToolError(f"{message} {DO_NOT_REPEAT}") from error
                if error.retryable:
                    raise Unavailable(message, code=MAY_TRY_AGAIN) from error
                raise ToolError(message) from error

        result = await self.runner.run(call.context, f"{call.server_label}.{call.tool}", call.arguments, run)
        return _as_item_has_it(result)

    async def _may_run_twice(self, server: McpServer, tenant: str, tool: str) -> bool:
        """Whether the server marks the tool as safe to run twice; its list is fetched if it is not cached."""
        try:
            return may_run_twice(await self._listed(server, tenant), tool)
        except McpError:
            return False

    async def _record(self, response_id: str) -> Record:
        try:
            record = await self.records.load(response_id)
        except (RPCError, *RedisDown) as error:
            raise Unavailable("the response cannot be loaded", code=MAY_TRY_AGAIN) from error
        if record is None:
            raise ToolError("the response was deleted while it ran")
        return record

    def _server(self, start: StartResponse, label: str) -> McpServer:
        """The request's own server, or the configured one of that label. Raises ToolError."""
        asked = next(
            (t for t in start.request.tools or [] if isinstance(t, McpTool) and t.server_label == label),
            None,
        )
        if asked is None:
            raise ToolError(f"the MCP server {label!r} is not among the request's tools")
        secrets = self._secrets(start, label)
        headers = dict(secrets.get("headers") or {})
        if secrets.get("authorization"):
            headers["Authorization"] = _bearer(secrets["authorization"])
        configured = self.config.mcp_server(label)
        url = secrets.get("url") or asked.server_url
        if configured is not None and (url is None or url == configured.url):
            return McpServer(label, configured.url, self._configured_headers(configured) | headers, allow_private=True)
        if url is None:
            raise ToolError(f"the MCP server {label!r} is gone: this server's configuration has it no more")
        return McpServer(label, url, headers, allow_private=self.config.trusts(url))

    def _secrets(self, start: StartResponse, label: str) -> JsonObject:
        sealed = start.secrets.get(label)
        if sealed is None:
            return {}
        try:
            opened: JsonObject = orjson.loads(self.sealer.unseal(sealed, bound_to=start.response_id))
        except SealBroken as error:
            log.error("secrets_not_opened", response_id=start.response_id, reason=str(error))
            raise ToolError(f"the credentials of {label!r} cannot be opened by this worker") from error
        return opened

    def _configured_headers(self, server: McpServerConfig) -> dict[str, str]:
        return {
            name: self.environ[variable] for name, variable in server.headers_env.items() if variable in self.environ
        }

    def _call_seconds(self, label: str) -> float:
        configured = self.config.mcp_server(label)
        return configured.timeout_seconds if configured is not None else _CALL_SECONDS

    async def _is_known(self, record: Record, label: str) -> bool:
        """Whether the context already has the server's tools, as this server listed them at the same address."""
        remembered = await self.records.pieces.expanded(record.start.remembered)
        shown = _newest_list(_items_in_start(record.start, remembered), label)
        if shown is not None:
            return await self._was_listed_for(record.start, shown)
        for ancestor in reversed(await self.records.load_ended(record.ancestors)):
            if ancestor is not None and _newest_list(ancestor.output, label) is not None:
                return _url_of(ancestor.start, label) == _url_of(record.start, label)
        return False

    async def _was_listed_for(self, start: StartResponse, shown: JsonObject) -> bool:
        """Whether a list in a response's start was listed by this server, for this tenant, at the same address.

        A client may have written the list. The stored response that the list's id names proves its origin; without that
        response, this returns False.
        """
        position, label = position_of(shown.get("id") or ""), shown["server_label"]
        listing = None if position is None else await self.records.load(position[0])
        if listing is None or listing.start.tenant != start.tenant or shown not in listing.output:
            return False
        return _url_of(listing.start, label) == _url_of(start, label)

    async def _listed(self, server: McpServer, tenant: str) -> list[JsonObject]:
        """The server's tools, from the cache for as long as the server lets its list be kept."""
        key = key_names.mcp_tools(_digest(server, tenant))
        try:
            cached = await self.redis.get(key)
        except RedisDown:
            cached = None
        if cached is not None:
            tools: list[JsonObject] = orjson.loads(cached)
            return tools
        with _counted(server.label, "list_tools"), mcp_request("tools/list", server.label):
            listed = await list_tools(_in_trace(server), timeout_seconds=_LIST_SECONDS)
        tools = await shown_tools(listed.tools, self.schema_checks, tenant)
        if listed.fresh_seconds > 0:
            try:
                await self.redis.set(key, orjson.dumps(tools), ex=listed.fresh_seconds)
            except RedisDown:
                log.info("mcp_list_not_cached", label=server.label)
        return tools

    async def _forget_list(self, server: McpServer, tenant: str) -> None:
        """Remove the list from the cache: the server has said that it changed."""
        try:
            await self.redis.delete(key_names.mcp_tools(_digest(server, tenant)))
        except RedisDown:
            log.info("mcp_list_not_forgotten", label=server.label)


@contextmanager
def _counted(label: str, operation: str) -> Iterator[None]:
    """Record one request to an MCP server in the metrics."""
    outcome = "cancelled"
    try:
        yield
        outcome = "done"
    except Exception:
        outcome = "failed"
        raise
    finally:
        metrics.mcp_request_ended(label, operation, outcome)


async def shown_tools(tools: Sequence[McpToolDefinition], schema_checks: SchemaChecks, tenant: str) -> list[JsonObject]:
    """The tools in OpenAI's shape, as in `mcp_list_tools`.

    A schema that every provider would reject, or that costs too much, is replaced, and the tool's description says so.
    The schemas of a server share one budget.
    """
    budget = SchemaBudget()
    problems = [_shape_problem(tool.input_schema, budget) for tool in tools]
    usable = [index for index, problem in enumerate(problems) if problem is None]
    try:
        found = await schema_checks.schema_problems([tools[index].input_schema for index in usable], tenant)
    except SchemaTooComplex:
        found = ["the schemas of this server take too long to check"] * len(usable)
    for index, problem in zip(usable, found, strict=True):
        problems[index] = problem
    return [_shown(tool, problem) for tool, problem in zip(tools, problems, strict=True)]


def _shown(tool: McpToolDefinition, problem: str | None) -> JsonObject:
    shown: JsonObject = {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}
    if problem is not None:
        shown["input_schema"] = {"type": "object", "properties": {}}
        note = f"[The server's schema of the arguments is left out: {problem}.]"
        shown["description"] = f"{tool.description} {note}" if tool.description else note
    return {**shown, "annotations": tool.annotations}


def _as_item_has_it(result: ToolResult) -> ToolResult:
    """The result with a string as its output, as `mcp_call` has it, and the parts beside it."""
    if isinstance(result.output, str):
        return result
    return result.model_copy(update={"output": in_words(result.output), "parts": result.output})


def _shape_problem(schema: JsonObject, budget: SchemaBudget) -> str | None:
    problem = writing_problem(schema)
    if problem is not None:
        return problem
    try:
        looks_like_a_schema(schema)
        budget.spend(schema)
    except PydanticCustomError as error:
        details = error.context or {}
        return f"'{details.get('field')}' {details.get('complaint')}"
    except SchemaTooCostly as error:
        return f"it {error}"
    return None


def _in_trace(server: McpServer) -> McpServer:
    """The server with the header of the trace, which is not part of the cache's key."""
    return replace(server, headers={**trace_headers(), **server.headers})


def _items_in_start(start: StartResponse, remembered: Remembered | None) -> list[JsonObject]:
    """The items of the context that are in no other response's record, oldest first."""
    turns = remembered.turns if remembered is not None else []
    items = [item for turn in turns for item in (*turn.input, *turn.output)]
    given = start.given_input()
    return items if isinstance(given, str) else [*items, *given]


def _newest_list(items: Sequence[JsonObject], label: str) -> JsonObject | None:
    """The newest successful `mcp_list_tools` of this server."""
    for item in reversed(items):
        if item.get("type") == "mcp_list_tools" and item["server_label"] == label and item.get("error") is None:
            return item
    return None


def _url_of(start: StartResponse, label: str) -> str | None:
    tools = (t for t in start.request.tools or [] if isinstance(t, McpTool) and t.server_label == label)
    return next((tool.server_url for tool in tools), None)


def _bearer(token: str) -> str:
    """The value of the `Authorization` header. OpenAI's API accepts a bare token; a value that begins with its scheme
    stays unchanged."""
    return token if token.lower().startswith(("bearer ", "basic ")) else f"Bearer {token}"


def _digest(server: McpServer, tenant: str) -> str:
    """One cache entry for each tenant, address and set of credentials: tools may depend on all three."""
    identity = orjson.dumps([tenant, server.url, sorted(server.headers.items())])
    return hashlib.sha256(identity).hexdigest()
