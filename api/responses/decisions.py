"""A person's word on a stored call, in the input of the next response.

What this prevents: a call that runs twice on one approval, with other arguments or at another server than those that
were shown, for another tenant, or on an approval that nobody asked for. What runs is always the stored call.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence, Set

from api.app_state import AppState
from api.lookup import OwnedRecords
from open_responses.config import Config
from open_responses.context.transcript import approval_of
from open_responses.errors import Conflict, InvalidRequest, NotFound, Unavailable
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.approvals import is_used_otherwise
from open_responses.io.store.redis_store import Record
from open_responses.io.temporal.client import TemporalDown
from open_responses.json_types import JsonObject
from open_responses.loop.payloads import ApprovalClaim, Decision
from open_responses.schema.items import (
    AssistantMessage,
    FunctionCall,
    InputItem,
    McpApprovalRequest,
    McpApprovalResponse,
    McpCall,
    McpTools,
)
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import McpTool
from open_responses.tool_use.tool_items import response_of_approval
from open_responses.tool_use.tool_table import HOSTED_LABEL, choice_allows, hosted_names, is_read_only

# Longer than a start may take; after that, what nobody let go of is free again.
_HOLD_SECONDS = 60


async def decisions_of(
    state: AppState, records: OwnedRecords, asked: CreateResponse, conversation: Sequence[JsonObject] = ()
) -> list[Decision]:
    """The stored calls that the input's approvals speak of. `conversation` are the items of the one that it names.

    Raises InvalidRequest for an approval for nothing, of another conversation or tenant, doubled, or one whose tool the
    request does not bring again or does not allow, and Conflict for one that was answered already.
    """
    items = asked.input_items()
    shown = {item.id for item in items if isinstance(item, McpApprovalRequest)}
    shown |= {item["id"] for item in conversation if item["type"] == "mcp_approval_request"}
    settled = {id for item in items if (id := _settles(item)) is not None}
    decisions: list[Decision] = []
    for index, item in enumerate(items):
        if not isinstance(item, McpApprovalResponse) or item.approval_request_id in settled:
            continue
        if not item.approve and any(isinstance(later, AssistantMessage) for later in items[index:]):
            # History as well: the model has spoken since, and a denial leaves no call.
            continue
        param = f"input[{index}].approval_request_id"
        if any(d.approval_request_id == item.approval_request_id for d in decisions):
            raise InvalidRequest("This approval is answered twice.", param=param, code="invalid_value")
        decisions.append(await _decision(state.settings.config, records, asked, shown, item, param))
    return decisions


def _settles(item: InputItem) -> str | None:
    """The approval that a call in the input was made on: that part of the conversation is history."""
    if isinstance(item, McpCall):
        return item.approval_request_id
    return approval_of(item) if isinstance(item, FunctionCall) else None


async def _decision(
    config: Config,
    records: OwnedRecords,
    asked: CreateResponse,
    shown: Set[str],
    answer: McpApprovalResponse,
    param: str,
) -> Decision:
    asking, stored = await _stored_request(records, asked, shown, answer, param)
    if any(item.get("approval_request_id") == stored["id"] for item in asking.output):
        # Answered while the response ran, yes or no.
        raise _taken(stored["id"])
    if answer.approve:
        _check_tool_is_there(config, asked, asking, stored, param)
        await _check_is_allowed(records, asked, asking, stored, param)
    return Decision(
        approval_request_id=stored["id"],
        server_label=stored["server_label"],
        name=stored["name"],
        arguments=stored["arguments"],
        approve=answer.approve,
        reason=answer.reason,
    )


async def _stored_request(
    records: OwnedRecords, asked: CreateResponse, shown: Set[str], answer: McpApprovalResponse, param: str
) -> tuple[Record, JsonObject]:
    """The response that asked, and its request."""
    unknown = InvalidRequest(
        f"No approval request {answer.approval_request_id[:80]!r} in this conversation.",
        param=param,
        code="approval_not_found",
    )
    try:
        asking = await records.get(response_of_approval(answer.approval_request_id), param)
    except NotFound:
        raise unknown from None
    stored = next((item for item in asking.output if item["id"] == answer.approval_request_id), None)
    if stored is None or not await _is_of_this_conversation(records, asked, shown, asking, answer):
        raise unknown
    return asking, stored


async def _is_of_this_conversation(
    records: OwnedRecords, asked: CreateResponse, shown: Set[str], asking: Record, answer: McpApprovalResponse
) -> bool:
    if answer.approval_request_id in shown:
        return True
    previous = asked.previous_response_id
    if previous is None:
        return False
    if previous == asking.start.response_id:
        return True
    try:
        record = await records.get(previous, "previous_response_id")
    except NotFound:
        return False
    return asking.start.response_id in record.ancestors


def _check_tool_is_there(config: Config, asked: CreateResponse, asking: Record, stored: JsonObject, param: str) -> None:
    """Tools are not inherited along a chain, nor are the headers that reach them. Another server is another tool."""
    label = stored["server_label"]
    if label == HOSTED_LABEL:
        if stored["name"] in hosted_names(asked, [tool.name for tool in config.tools]):
            return
        missing = f"the hosted tool {stored['name']!r}"
    else:
        address = _address(config, asked, label)
        if address is not None and address == _address(config, asking.start.request, label):
            return
        missing = f"the MCP server {label!r} at the address" if address is not None else f"the MCP server {label!r}"
        missing += " that was asked about" if address is not None else ""
    raise InvalidRequest(
        f"The approved call needs {missing}, which is not in this request's tools. Send it again.",
        param=param,
        code="missing_tool",
    )


def _address(config: Config, asked: CreateResponse, label: str) -> str | None:
    """Where a request's MCP server is, without the query, which is a credential. None for a label that it has not."""
    server = _server(asked, label)
    if server is None:
        return None
    configured = config.mcp_server(label)
    url = server.server_url or (configured.url if configured is not None else "")
    return url.partition("?")[0]


def _server(asked: CreateResponse, label: str) -> McpTool | None:
    return next((tool for tool in asked.tools or [] if isinstance(tool, McpTool) and tool.server_label == label), None)


async def _check_is_allowed(
    records: OwnedRecords, asked: CreateResponse, asking: Record, stored: JsonObject, param: str
) -> None:
    """An approval does not reach beyond what the request that brings it allows (REQ-2)."""
    label, name = stored["server_label"], stored["name"]
    allowed = choice_allows(asked.tool_choice, label, name)
    server = _server(asked, label)
    if allowed and server is not None and server.allowed_tools is not None:
        read_only = is_read_only(await _listed(records, asked.input_items(), asking, label, param), name)
        allowed = server.offers(name, read_only=read_only)
    if not allowed:
        raise InvalidRequest(
            f"The approved call to {name!r} is not among what this request allows (tool_choice, allowed_tools).",
            param=param,
            code="tool_not_allowed",
        )


async def _listed(
    records: OwnedRecords, given: Sequence[InputItem], asking: Record, label: str, param: str
) -> Sequence[JsonObject]:
    """The server's tools as the model was told of them."""
    for shown in reversed(given):
        if isinstance(shown, McpTools) and shown.server_label == label:
            return shown.tools
    if (tools := _listed_in(asking, label)) is not None:
        return tools
    async for record in records.behind(asking, param):
        if (tools := _listed_in(record, label)) is not None:
            return tools
    return ()


def _listed_in(record: Record, label: str) -> list[JsonObject] | None:
    found = (i for i in reversed(record.output) if i["type"] == "mcp_list_tools" and i["server_label"] == label)
    item = next(found, None)
    return None if item is None else item["tools"]


def check_approvals_can_be_given(config: Config, asked: CreateResponse) -> None:
    """What runs on an approval is the stored call: a response that is not stored cannot ask for one.

    Raises InvalidRequest for `store: false` with a tool that may ask.
    """
    if asked.is_stored:
        return
    names = hosted_names(asked, [tool.name for tool in config.tools])
    guarded = [tool.name for tool in config.tools if tool.name in names and tool.require_approval]
    guarded += [t.server_label for t in asked.tools or [] if isinstance(t, McpTool) and t.may_need_approval]
    if guarded:
        raise InvalidRequest(
            f"'store' is false, but calls to {guarded[0]!r} may need an approval, and only a stored call can be "
            "approved. Store the response, leave the tool out, or set the MCP server's 'require_approval' to 'never'.",
            param="store",
            code="invalid_value",
        )


async def hold(state: AppState, response_id: str, decisions: Iterable[Decision]) -> None:
    """Keep other requests off these approvals until the response has begun, and takes them
    (`activities/lifecycle/claim_approvals.py`).

    Raises Conflict for one that another response has taken or holds, and Unavailable; then none is held.
    """
    decisions = list(decisions)
    try:
        for decision in decisions:
            await _hold(state, response_id, decision)
    except BaseException:
        await let_go(state, response_id, decisions)
        raise


async def let_go(state: AppState, response_id: str, decisions: Iterable[Decision]) -> None:
    """The response was not started: another request may bring the same approvals."""
    for decision in decisions:
        with contextlib.suppress(*RedisDown):
            await state.store.let_go_of_approval(decision.approval_request_id, response_id)


async def _hold(state: AppState, response_id: str, decision: Decision) -> None:
    approval_request_id = decision.approval_request_id
    # Another request with the same Idempotency-Key has another nonce, and gets the response that has begun.
    own = ApprovalClaim.of(response_id, decision, None)
    with contextlib.suppress(*RedisDown):
        if not await state.store.hold_approval(approval_request_id, response_id, _HOLD_SECONDS):
            raise _taken(approval_request_id)
    try:
        is_taken = await is_used_otherwise(state.temporal, own)
    except TemporalDown as error:
        raise Unavailable("Temporal cannot be reached. Nothing was started.", retry_after=5) from error
    if is_taken:
        raise _taken(approval_request_id)


def _taken(approval_request_id: str) -> Conflict:
    return Conflict(f"Approval {approval_request_id!r} was answered already.", code="approval_already_answered")
