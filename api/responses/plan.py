"""From a validated request to the workflow's start: route, tools, secrets, approvals. Refuses what can be refused."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from urllib.parse import urlsplit

import orjson

from api.app_state import AppState
from api.compactions import check_compactions
from api.idempotency import IdempotencyKey
from api.lookup import OwnedRecords
from api.responses.decisions import check_approvals_can_be_given, decisions_of
from api.responses.routing import targets_of
from open_responses.config import Config
from open_responses.context.tokens import at_most, counted, item_tokens
from open_responses.context.truncation import check_fits
from open_responses.errors import InvalidRequest, SchemaTooComplex, Unavailable
from open_responses.ids import new_id
from open_responses.io.sealing import Sealer
from open_responses.json_types import JsonObject
from open_responses.loop.payloads import StartResponse
from open_responses.private_addresses import is_forbidden_host
from open_responses.schema.items import InputItem
from open_responses.schema.requests import CreateResponse, schemas_of
from open_responses.schema.tools import FunctionTool, HostedTools, McpTool, Tool, named_choices
from open_responses.tool_use.hosted_tool import HostedTool
from open_responses.tool_use.tool_table import hosted_names, is_bare

_SCHEMA_PATIENCE_SECONDS = 20.0
"""For a free process, and for the check itself: other tenants' checks do not delay it for long."""


async def plan(
    state: AppState,
    tenant: str,
    asked: CreateResponse,
    records: OwnedRecords,
    provider_key: str | None = None,
    key: IdempotencyKey | None = None,
    conversation: Sequence[JsonObject] = (),
    *,
    is_compaction: bool = False,
) -> StartResponse:
    """Raises ModelNotFound, since there is no silent default model, InvalidRequest for what its provider cannot take
    and for tools that cannot be had, and ContextLengthExceeded for an input that no window takes.

    `records` are the responses that it names, `provider_key` is its own key for the provider, `conversation` are the
    items of the one that it names.
    """
    config, settings = state.settings.config, state.settings
    first, *fallbacks = targets_of(config, asked, provider_key, os.environ)
    await _check_length(asked, first.context_window)
    await _check_schemas(state, tenant, asked)
    response_id = key.response_id if key is not None else new_id("resp_")
    hosted = _hosted(config, asked)
    _check_servers(config, asked)
    check_approvals_can_be_given(config, asked)
    window = settings.background_retry_window_seconds if asked.is_background else settings.retry_window_seconds
    check_compactions(asked.input_items(), state.sealer, tenant)
    decisions = await decisions_of(state, records, asked, conversation)
    stripped, secrets = _sealed(asked, state.sealer, response_id)
    return StartResponse(
        response_id=response_id,
        tenant=tenant,
        created_at=int(time.time()),
        request=stripped,
        provider=first.provider,
        upstream_model=first.upstream_model,
        retry_window=window,
        context_window=first.context_window,
        fallbacks=fallbacks,
        provider_key=provider_key and state.sealer.seal(provider_key.encode(), bound_to=response_id),
        hosted=hosted,
        secrets=secrets,
        decisions=decisions,
        is_compaction=is_compaction,
        results_in_order=True,
        repeats_alike=True,
        body_digest=key and key.body_digest,
        nonce=key and new_id("nonce_"),
        max_turns=config.max_turns,
        deadline_seconds=config.deadline_seconds,
    )


async def _check_length(asked: CreateResponse, window: int | None) -> None:
    """What cannot fit, whatever else the conversation holds (REQ-3)."""
    if window is None or asked.truncation == "auto" or at_most(asked.input_items()) <= window:
        return
    check_fits(await counted(_tokens, asked.input_items()), window)


def _tokens(items: Sequence[InputItem]) -> int:
    return sum(map(item_tokens, items))


async def _check_schemas(state: AppState, tenant: str, asked: CreateResponse) -> None:
    """A schema that nothing could be checked against, of the answer's form or of a tool's arguments."""
    schemas = schemas_of(asked)
    try:
        async with asyncio.timeout(_SCHEMA_PATIENCE_SECONDS):
            problems = await state.schema_checks.schema_problems(list(schemas.values()), tenant)
    except SchemaTooComplex as error:
        param = next(iter(schemas)) if len(schemas) == 1 else None
        raise SchemaTooComplex(error.message, param=param) from error
    except TimeoutError:
        raise Unavailable("Too many schemas are waiting to be checked. Try again.", retry_after=5) from None
    for param, problem in zip(schemas, problems, strict=True):
        if problem is not None:
            raise InvalidRequest(
                f"{param!r} is not a JSON Schema that can be used: {problem}", param=param, code="invalid_value"
            )


def _hosted(config: Config, asked: CreateResponse) -> list[HostedTool]:
    names = hosted_names(asked, [tool.name for tool in config.tools])
    for index, tool in enumerate(asked.tools or []):
        if isinstance(tool, HostedTools) and not config.tools:
            raise InvalidRequest(
                "This server has no hosted tools: none is configured.", param=f"tools[{index}]", code="unsupported_tool"
            )
        if isinstance(tool, FunctionTool) and tool.name in names and not is_bare(tool):
            raise InvalidRequest(
                f"{tool.name!r} is also the name of a hosted tool, which 'open_responses:hosted_tools' brings in.",
                param=f"tools[{index}].name",
                code="invalid_value",
            )
    _check_choice(asked, names)
    return [
        HostedTool(
            name=found.name,
            timeout_seconds=found.timeout_seconds,
            max_attempts=found.max_attempts,
            retry_seconds=found.retry_seconds,
            task_queue=found.task_queue,
            require_approval=found.require_approval,
        )
        for name in names
        if (found := config.tool(name)) is not None
    ]


def _check_choice(asked: CreateResponse, hosted: list[str]) -> None:
    """A choice that names no tool, where only the configuration knows the names."""
    functions = {tool.name for tool in asked.tools or [] if isinstance(tool, FunctionTool)} | set(hosted)
    labels = {tool.server_label for tool in asked.tools or [] if isinstance(tool, McpTool)}
    for field, named in named_choices(asked.tool_choice):
        name, known = (named.server_label, labels) if named.type == "mcp" else (named.name, functions)
        if name not in known:
            raise InvalidRequest(
                f"{field} names {name[:64]!r}, which is not in tools.", param=field, code="invalid_value"
            )


def _check_servers(config: Config, asked: CreateResponse) -> None:
    for index, tool in enumerate(asked.tools or []):
        if not isinstance(tool, McpTool):
            continue
        configured = config.mcp_server(tool.server_label)
        if tool.server_url is None and configured is None:
            known = ", ".join(server.label for server in config.mcp_servers) or "none"
            raise InvalidRequest(
                f"No MCP server is configured with the label {tool.server_label!r} (configured: {known}); "
                "send its server_url.",
                param=f"tools[{index}].server_url",
                code="missing_required_parameter",
            )
        if tool.server_url is not None and not may_reach(config, tool.server_url):
            raise InvalidRequest(
                "server_url points to a private or local address, which this server does not let requests reach.",
                param=f"tools[{index}].server_url",
                code="forbidden_address",
            )


def may_reach(config: Config, url: str) -> bool:
    """Whether a request may name this address, as far as its letters tell; the connection is checked again."""
    return config.trusts(url) or not is_forbidden_host(urlsplit(url).hostname or "")


def _sealed(asked: CreateResponse, sealer: Sealer, response_id: str) -> tuple[CreateResponse, dict[str, str]]:
    """The request without what was sent in confidence, and that, sealed, by server label.

    A URL's query may be a key as well, so it goes with them.
    """
    secrets: dict[str, str] = {}
    tools: list[Tool] = []
    for tool in asked.tools or []:
        if isinstance(tool, McpTool) and (found := _secrets(tool)):
            secrets[tool.server_label] = sealer.seal(orjson.dumps(found), bound_to=response_id)
            url = None if tool.server_url is None else tool.server_url.partition("?")[0]
            tools.append(tool.model_copy(update={"headers": None, "authorization": None, "server_url": url}))
        else:
            tools.append(tool)
    return (asked.model_copy(update={"tools": tools}), secrets) if secrets else (asked, secrets)


def _secrets(tool: McpTool) -> JsonObject:
    found: JsonObject = {}
    if tool.headers:
        found["headers"] = tool.headers
    if tool.authorization:
        found["authorization"] = tool.authorization
    if tool.server_url and "?" in tool.server_url:
        found["url"] = tool.server_url
    return found
