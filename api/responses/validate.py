"""Validate: the last of three passes over a request. It fits what it names, the configuration and its provider.

Nothing is loaded any more: the checks read what the passes before have loaded, and the configuration.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from urllib.parse import urlsplit

from api.admission.scopes import check_built_ins
from api.app_state import AppState
from api.compactions import check_compactions
from api.responses.agents import agent_plan, check_agents_are_stored
from api.responses.code_container import check_containers
from api.responses.decisions import check_approvals_can_be_given, decisions_of
from api.responses.plan import Plan
from api.responses.resolve import ResolvedContext, ResolvedRequest
from api.responses.routing import targets_of
from api.responses.searched_stores import check_searched_stores
from api.responses.waiting_programs import decisions_without_programs, is_removed, resumed_programs
from api.webhooks.addresses import check_address
from open_responses.config import Config
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.config_tables.interpreter import CodeInterpreterConfig, ProgramConfig
from open_responses.context.call_pairing import check_calls_are_answered
from open_responses.context.tokens import at_most, counted, item_tokens
from open_responses.context.truncation import check_fits
from open_responses.errors import ContextTooLarge, InvalidRequest, SchemaTooComplex, Unavailable
from open_responses.io.files.inlined import with_heads
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.settings import Settings
from open_responses.loop.payloads.start import Target
from open_responses.private_addresses import is_forbidden_host
from open_responses.schema.items import InputItem
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.requests import CreateResponse, schemas_of, tools_of_items
from open_responses.schema.tool_choice import McpChoice, ProviderToolChoice, named_choices, names_of_tools
from open_responses.schema.tools import FunctionTool, HostedTools, ProviderTool
from open_responses.tool_use.built_in import BUILT_IN_TOOLS, BuiltInTool, built_in_of, offered_built_ins
from open_responses.tool_use.hosted_tool import HostedTool, hosted_names, is_bare

_SCHEMA_PATIENCE_SECONDS = 20.0
"""For a free process, and for the check itself: other tenants' checks do not delay it for long."""
# Files of large payloads must outlive a response that waits, and then Temporal's retention of its run.
_LIVES_PER_BLOB_TTL = 2


async def validate(state: AppState, resolved: ResolvedRequest) -> Plan:
    """Raises ModelNotFound, since there is no silent default model, InvalidRequest for what its provider cannot take,
    for tools that cannot be had, and for calls without an answer, Conflict for an approval that was answered already,
    ContextTooLarge, ContextLengthExceeded for an input that no window takes, and NotFound for an unknown file."""
    config, settings, asked = state.settings.config, state.settings, resolved.asked
    parsed, tenant = resolved.authorized.parsed, resolved.authorized.caller.tenant
    check_continues(resolved.context)
    check_context(resolved.context, settings.max_context_bytes)
    shown = await with_heads(state.folder.files, tenant, asked, config.files.max_inline_bytes)
    targets = targets_of(config, shown, parsed.provider_key, os.environ)
    await check_searched_stores(state, tenant, shown, targets)
    await _check_length(asked, targets[0].context_window)
    await _check_schemas(state.schema_checks, tenant, asked)
    hosted = _hosted(settings, asked)
    check_agents_are_stored(asked, hosted)
    built_in = built_in_tools(config, resolved.authorized.caller.key, asked, targets, [tool.name for tool in hosted])
    await check_containers(state, tenant, _run_here(asked, targets))
    _check_servers(config, asked)
    if asked.webhook is not None:
        check_address(config, asked.webhook.url, "webhook.url")
    check_approvals_can_be_given(config, asked, built_in)
    check_compactions(asked.input_items(), state.sealer, tenant)
    decisions = decisions_of(config, asked, resolved.approvals, [tool.name for tool in built_in])
    if is_removed(config):
        decisions = decisions_without_programs(decisions, resolved.programs)
    names = [tool.name for tool in built_in]
    programs = resumed_programs(config, asked, resolved.programs, decisions, names)
    return Plan(resolved, tuple(targets), tuple(hosted), tuple(built_in), tuple(decisions), tuple(programs))


def check_continues(context: ResolvedContext) -> None:
    """Raises InvalidRequest for calls that the input does not answer, and for outputs without a call."""
    previous = context.earlier.previous
    if context.conversation is not None:
        context.conversation.check_continues(context.asked)
    elif context.held is not None:
        context.held.check_continues(context.asked)
    elif previous is not None:
        own = frozenset(tool.name for tool in previous.start.hosted)
        check_calls_are_answered(context.asked.input_items(), previous.output, own=own)
    else:
        check_calls_are_answered(context.asked.input_items(), ())


def check_context(context: ResolvedContext, limit: int) -> None:
    """Raises ContextTooLarge for a request that is together with what it continues larger than `max_context_bytes`.

    What this prevents: a short request behind which a worker has to read more than it has memory for. Nothing that is
    too large is read to find out.
    """
    asked, earlier = context.asked, context.earlier
    if earlier.stored_bytes + earlier.remembered_bytes + context.input_bytes <= limit:
        return
    if asked.conversation is not None:
        param, what = "conversation", "The conversation"
    elif asked.previous_response_id is not None:
        param, what = "previous_response_id", "The chain of responses"
    else:
        param, what = "input", "Nothing"
    raise ContextTooLarge(
        f"{what} and your input are together larger than {limit} bytes, the largest context of a response. Start from "
        "the output of POST /v1/responses/compact, or send only the newest items.",
        param=param,
    )


async def _check_length(asked: CreateResponse, window: int | None) -> None:
    """What cannot fit, whatever else the conversation holds (REQ-3)."""
    if window is None or asked.truncation == "auto" or at_most(asked.input_items()) <= window:
        return
    check_fits(await counted(_tokens, asked.input_items()), window)


def _tokens(items: Sequence[InputItem]) -> int:
    return sum(map(item_tokens, items))


async def _check_schemas(checks: SchemaChecks, tenant: str, asked: CreateResponse) -> None:
    """A schema that nothing could be checked against, of the answer's form or of a tool's arguments."""
    schemas = schemas_of(asked)
    try:
        async with asyncio.timeout(_SCHEMA_PATIENCE_SECONDS):
            problems = await checks.schema_problems(list(schemas.values()), tenant)
    except SchemaTooComplex as error:
        param = next(iter(schemas)) if len(schemas) == 1 else None
        raise SchemaTooComplex(error.message, param=param) from error
    except TimeoutError:
        raise Unavailable(
            "Too many schemas are waiting to be checked. Send your request again after the time in Retry-After.",
            retry_after=5,
        ) from None
    for param, problem in zip(schemas, problems, strict=True):
        if problem is not None:
            raise InvalidRequest(f"{param!r} must be a valid JSON Schema: {problem}", param=param, code="invalid_value")


def _hosted(settings: Settings, asked: CreateResponse) -> list[HostedTool]:
    config = settings.config
    names = hosted_names(asked, [tool.name for tool in config.tools])
    for index, tool in enumerate(asked.tools or []):
        if isinstance(tool, HostedTools) and not config.tools:
            raise InvalidRequest(
                "This server has no hosted tools. Leave 'open_responses:hosted_tools' out.",
                param=f"tools[{index}]",
                code="unsupported_tool",
            )
        if isinstance(tool, FunctionTool) and tool.name in names and not is_bare(tool):
            raise InvalidRequest(
                f"{tool.name!r} is also a hosted tool, which 'open_responses:hosted_tools' adds. Rename yours.",
                param=f"tools[{index}].name",
                code="invalid_value",
            )
    _check_choice(asked, names)
    return _hosted_tools(settings, names)


def _hosted_tools(settings: Settings, names: Sequence[str]) -> list[HostedTool]:
    """The tools as a response has them, with the plans of agents and of those that agents may call."""
    tools = []
    for name in names:
        found = settings.config.tool(name)
        if found is None:
            continue
        tool = HostedTool(
            name=found.name,
            timeout_seconds=found.timeout_seconds,
            max_attempts=found.max_attempts,
            retry_seconds=found.retry_seconds,
            task_queue=found.task_queue,
            require_approval=found.require_approval,
        )
        if found.wait is not None:
            limits = {
                "max_wait_seconds": found.wait.max_seconds,
                "lifetime_seconds": settings.blob_ttl_seconds / _LIVES_PER_BLOB_TTL,
            }
            tool = tool.model_copy(update=limits)
        if found.agent is not None:
            hosted_of, built_in_of = partial(_hosted_tools, settings), partial(built_in_tools, settings.config, None)
            plan = agent_plan(settings, found, hosted_of, built_in_of, os.environ)
            tool = tool.model_copy(update={"agent": plan})
        tools.append(tool)
    return tools


def _run_here(asked: CreateResponse, targets: Sequence[Target]) -> list[tuple[int, ProviderTool]]:
    """The built-in tools that this server runs for one of the targets, with their indexes in the request."""
    indexes = sorted({index for target in targets for index in target.run_here})
    tools = asked.tools or []
    return [(index, tool) for index in indexes if isinstance(tool := tools[index], ProviderTool)]


def built_in_tools(
    config: Config,
    key: ApiKeyConfig | None,
    asked: CreateResponse,
    targets: Sequence[Target],
    hosted: Sequence[str],
) -> list[BuiltInTool]:
    """The built-in tools that this server runs for one of the targets. Raises PermissionDenied, and InvalidRequest for
    a function with the name of one of theirs."""
    run_here = sorted({index for target in targets for index in target.run_here})
    check_settings(config, asked, run_here)
    tables = config.built_in_tools
    closed = {name: BUILT_IN_TOOLS[name].closed(table) for name, table in tables.items()} if run_here else {}
    offered = offered_built_ins(asked, run_here, closed) if run_here else []
    check_built_ins(key, [one.row.name for one in offered])
    names = {function.name: one.row.name for one in offered for function in one.functions()}
    for path, tools in [("tools", asked.tools or []), *tools_of_items(asked)]:
        for index, tool in enumerate(tools):
            name = None if isinstance(tool, ProviderTool) else getattr(tool, "name", None)
            if name in names:
                raise InvalidRequest(
                    f"{name!r} is also a function of the built-in tool {names[name]!r}, which this server runs. Rename "
                    "yours.",
                    param=f"{path}[{index}].name",
                    code="invalid_value",
                )
    taken = next((name for name in hosted if name in names), None)
    if taken is not None:
        raise InvalidRequest(
            f"The hosted tool {taken!r} has the name of a function of the built-in tool {names[taken]!r}. Leave one of "
            "them out.",
            param="tools",
            code="invalid_value",
        )
    return [
        BuiltInTool(
            name=one.row.name,
            timeout_seconds=table.timeout_seconds,
            max_attempts=table.max_attempts,
            retry_seconds=table.retry_seconds,
            require_approval=table.require_approval,
            max_calls=table.max_calls if isinstance(table, ProgramConfig) else None,
            closed=list(one.closed),
            is_whole_python=isinstance(table, CodeInterpreterConfig) and table.backend != "embedded",
        )
        for one in offered
        if (table := tables.get(one.row.name)) is not None
    ]


def check_settings(config: Config, asked: CreateResponse, run_here: Sequence[int]) -> None:
    """Raise InvalidRequest for settings that an engine of the server cannot follow. Another engine has its own."""
    for index in run_here:
        tool = (asked.tools or [])[index]
        row = built_in_of(tool.type) if isinstance(tool, ProviderTool) else None
        table = None if row is None else config.built_in_tools.get(row.name)
        if row is not None and table is not None and table.target is None:
            row.check(tool.model_dump(mode="json", exclude_unset=True), table, f"tools[{index}]")


def _check_choice(asked: CreateResponse, hosted: list[str]) -> None:
    """A choice that names no tool, where only the configuration knows the names."""
    offered = [*(asked.tools or []), *(tool for _, tools in tools_of_items(asked) for tool in tools)]
    names = names_of_tools(offered)
    names["function"] = names.get("function", set()) | set(hosted)
    labels = {tool.server_label for tool in asked.tools or [] if isinstance(tool, McpTool)}
    for field, named in named_choices(asked.tool_choice):
        if isinstance(named, ProviderToolChoice):
            continue
        if isinstance(named, McpChoice):
            name, known = named.server_label, labels
        else:
            name, known = named.name, names.get(named.type, set())
        if name not in known:
            raise InvalidRequest(
                f"'{field}' names {name[:64]!r}, which is not in 'tools'. Add it, or leave it out.",
                param=field,
                code="invalid_value",
            )


def _check_servers(config: Config, asked: CreateResponse) -> None:
    for index, tool in enumerate(asked.tools or []):
        if not isinstance(tool, McpTool):
            continue
        configured = config.mcp_server(tool.server_label)
        if tool.server_url is None and configured is None:
            known = ", ".join(server.label for server in config.mcp_servers) or "none"
            raise InvalidRequest(
                f"This server has no MCP server with the label {tool.server_label!r} in its configuration (it has: "
                f"{known}). Send the 'server_url' of yours.",
                param=f"tools[{index}].server_url",
                code="missing_required_parameter",
            )
        if tool.server_url is not None and not may_reach(config, tool.server_url):
            raise InvalidRequest(
                "'server_url' must be a public address, but is a private or local one. If you operate this server, you "
                "can add the MCP server to its configuration.",
                param=f"tools[{index}].server_url",
                code="forbidden_address",
            )


def may_reach(config: Config, url: str) -> bool:
    """Whether a request may name this address, as it is written; the connection is checked again."""
    return config.trusts(url) or not is_forbidden_host(urlsplit(url).hostname or "")
