"""Plan: a request that has passed all checks, and what its workflow is started with."""

from __future__ import annotations

import time
from dataclasses import dataclass

import orjson

from api.admission.estimates import Continues
from api.app_state import AppState
from api.responses.resolve import ResolvedRequest
from open_responses.ids import new_id
from open_responses.io.sealing import Sealer
from open_responses.io.telemetry.request_context import current_request_id
from open_responses.io.telemetry.spans import current_traceparent
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.approvals import Decision
from open_responses.loop.payloads.programs import ResumedProgram
from open_responses.loop.payloads.start import Remembered, StartResponse, Target, members_of_now
from open_responses.models.named_files import parts_with_files
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import Tool
from open_responses.tool_use.built_in import BuiltInTool
from open_responses.tool_use.code_functions import CODE_INTERPRETER
from open_responses.tool_use.hosted_tool import HostedTool
from open_responses.webhooks.endpoints import WebhookTarget


@dataclass(frozen=True, slots=True)
class Plan:
    """A request that may be started: `targets` are its provider and the fallbacks, `hosted` the server's own tools that
    it may call, `built_in` the built-in tools that run here, `decisions` the stored calls that it approves or
    denies, `programs` those of an earlier response that go on."""

    resolved: ResolvedRequest
    targets: tuple[Target, ...]
    hosted: tuple[HostedTool, ...]
    built_in: tuple[BuiltInTool, ...]
    decisions: tuple[Decision, ...]
    programs: tuple[ResumedProgram, ...] = ()

    @property
    def continues(self) -> Continues:
        """What the request goes on from, for the estimate of its tokens."""
        context = self.resolved.context
        held_bytes = context.held.size if context.held is not None else 0
        return Continues(context.earlier.previous, context.conversation_items, held_bytes)


async def start_of(state: AppState, plan: Plan) -> StartResponse:
    """The workflow's input. What was sent in confidence is sealed in it."""
    settings, parsed, asked = state.settings, plan.resolved.authorized.parsed, plan.resolved.asked
    key = parsed.key
    response_id = key.response_id if key is not None else new_id("resp_")
    stripped, secrets = _sealed(asked, state.sealer, response_id)
    webhooks = _webhooks(state, plan, response_id)
    provider_key = parsed.provider_key and state.sealer.seal(parsed.provider_key.encode(), bound_to=response_id)
    context = plan.resolved.context
    by_reference = context.earlier.remembered_bytes if context.conversation is not None else 0
    start = StartResponse(
        response_id=response_id,
        tenant=plan.resolved.authorized.caller.tenant,
        created_at=int(time.time()),
        request=stripped,
        **members_of_now(plan.targets),
        retry_window=settings.background_retry_window_seconds if asked.is_background else settings.retry_window_seconds,
        provider_key=provider_key,
        hosted=list(plan.hosted),
        built_in=list(plan.built_in),
        secrets=secrets,
        decisions=list(plan.decisions),
        is_compaction=parsed.is_compaction,
        body_digest=key and key.body_digest,
        nonce=key and new_id("nonce_"),
        max_turns=settings.config.max_turns,
        deadline_seconds=settings.config.deadline_seconds,
        earlier_bytes=context.earlier.stored_bytes + by_reference,
        request_id=current_request_id(),
        traceparent=current_traceparent(),
        accepted_at=time.time(),
    )
    # A field that is not set takes no room where the start is stored.
    remembered = await _remembered(state, plan.resolved)
    set_now = {
        "remembered": remembered,
        "webhooks": webhooks,
        "container_id": plan.resolved.container_id,
        "input_files": _input_files(plan),
        "programs": list(plan.programs),
    }
    return start.model_copy(update={name: value for name, value in set_now.items() if value})


def _input_files(plan: Plan) -> list[str]:
    """The files of `/v1/files` that the input names, if code of this server's interpreter may read them."""
    if not any(tool.name == CODE_INTERPRETER for tool in plan.built_in):
        return []
    named = parts_with_files(plan.resolved.asked.input_items())
    return list(dict.fromkeys(part.file_id or "" for _, part in named))


def _webhooks(state: AppState, plan: Plan, response_id: str) -> list[WebhookTarget]:
    """Where the events of the response are sent. The endpoints of a key get those of background responses, as OpenAI's
    do: the client of any other response is there at its end."""
    parsed, asked, key = plan.resolved.authorized.parsed, plan.resolved.asked, plan.resolved.authorized.caller.key
    targets = list[WebhookTarget]()
    if asked.is_background and key is not None and (found := state.keys.find(key.sha256)) is not None:
        targets += found.webhook_targets()
    if asked.webhook is not None and not parsed.is_compaction:
        sealed = state.sealer.seal(orjson.dumps(asked.webhook.secret), bound_to=response_id)
        targets.append(WebhookTarget(url=asked.webhook.url, events=asked.webhook.events or [], sealed=sealed))
    return targets


async def _remembered(state: AppState, resolved: ResolvedRequest) -> Remembered | None:
    """What a response reads of its conversation is in files that all of the conversation's responses share."""
    remembered, conversation = resolved.context.earlier.remembered, resolved.context.conversation
    if remembered is None or conversation is None:
        return remembered
    return await state.records.pieces.referenced(conversation.owned.id, remembered)


def _sealed(asked: CreateResponse, sealer: Sealer, response_id: str) -> tuple[CreateResponse, dict[str, str]]:
    """The request without what was sent in confidence, and that, sealed, by server label.

    A URL's query may be a key as well, so it goes with them.
    """
    if asked.webhook is not None:
        asked = asked.model_copy(update={"webhook": None})
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
