"""A person's word on a stored call, in the input of the next response.

What this prevents: a call that runs twice on one approval, with other arguments than those that were shown, for
another tenant, or on an approval that nobody asked for. What runs is always the stored call.
"""

from __future__ import annotations

from collections.abc import Iterable

from temporalio.common import WorkflowIDReusePolicy

from api.app_state import AppState
from api.lookup import owned_record
from open_responses.errors import Conflict, InvalidRequest, NotFound
from open_responses.io.redis import RedisDown
from open_responses.io.store import Record
from open_responses.io.temporal import WorkflowAlreadyStartedError
from open_responses.items import FunctionCall, InputItem, McpApprovalRequest, McpApprovalResponse, McpCall
from open_responses.json_types import JsonObject
from open_responses.offer import HOSTED_LABEL
from open_responses.payloads import APPROVAL_WORKFLOW, TASK_QUEUE, ApprovalClaim, Decision
from open_responses.requests import CreateResponse
from open_responses.tool_items import response_of_approval
from open_responses.tools import FunctionTool, HostedTools, McpTool
from open_responses.transcript import approval_of


async def decisions_of(state: AppState, tenant: str, asked: CreateResponse) -> list[Decision]:
    """The stored calls that the input's approvals speak of.

    Raises InvalidRequest for an approval for nothing, of another conversation or tenant, doubled, or one whose tool the
    request does not bring again.
    """
    items = asked.input_items()
    settled = {id for item in items if (id := _settles(item)) is not None}
    decisions: list[Decision] = []
    for index, item in enumerate(items):
        if isinstance(item, McpApprovalResponse) and item.approval_request_id not in settled:
            param = f"input[{index}].approval_request_id"
            if any(d.approval_request_id == item.approval_request_id for d in decisions):
                raise InvalidRequest("This approval is answered twice.", param=param, code="invalid_value")
            stored = await _stored_request(state, tenant, asked, item, param)
            _check_tool_is_there(asked, stored, param)
            decisions.append(
                Decision(
                    approval_request_id=item.approval_request_id,
                    server_label=stored["server_label"],
                    name=stored["name"],
                    arguments=stored["arguments"],
                    approve=item.approve,
                    reason=item.reason,
                )
            )
    return decisions


def _settles(item: InputItem) -> str | None:
    """The approval that a call in the input was made on: that part of the conversation is history."""
    if isinstance(item, McpCall):
        return item.approval_request_id
    return approval_of(item) if isinstance(item, FunctionCall) else None


async def _stored_request(
    state: AppState, tenant: str, asked: CreateResponse, answer: McpApprovalResponse, param: str
) -> JsonObject:
    unknown = InvalidRequest(
        f"No approval request {answer.approval_request_id[:80]!r} in this conversation.",
        param=param,
        code="approval_not_found",
    )
    try:
        asking = await owned_record(state, tenant, response_of_approval(answer.approval_request_id))
    except NotFound:
        raise unknown from None
    stored = next((item for item in asking.output if item["id"] == answer.approval_request_id), None)
    if stored is None or not await _is_of_this_conversation(state, tenant, asked, asking, answer):
        raise unknown
    return stored


async def _is_of_this_conversation(
    state: AppState, tenant: str, asked: CreateResponse, asking: Record, answer: McpApprovalResponse
) -> bool:
    shown = (item.id for item in asked.input_items() if isinstance(item, McpApprovalRequest))
    if answer.approval_request_id in shown:
        return True
    previous = asked.previous_response_id
    if previous is None:
        return False
    if previous == asking.start.response_id:
        return True
    try:
        record = await owned_record(state, tenant, previous)
    except NotFound:
        return False
    return asking.start.response_id in record.ancestors


def _check_tool_is_there(asked: CreateResponse, stored: JsonObject, param: str) -> None:
    """Tools are not inherited along a chain, nor are the headers that reach them."""
    label, tools = stored["server_label"], asked.tools or []
    if label == HOSTED_LABEL:
        if any(isinstance(t, HostedTools) or (isinstance(t, FunctionTool) and t.name == stored["name"]) for t in tools):
            return
        missing = f"the tool {stored['name']!r}"
    else:
        if any(isinstance(t, McpTool) and t.server_label == label for t in tools):
            return
        missing = f"the MCP server {label!r}"
    raise InvalidRequest(
        f"The approved call needs {missing}, which is not in this request's tools. Send it again.",
        param=param,
        code="missing_tool",
    )


async def claim(state: AppState, response_id: str, decisions: Iterable[Decision]) -> None:
    """Take each approval for this response: the first takes it, for good. Raises Conflict for the second.

    In Temporal, which forgets after its retention, and in Redis, which remembers as long as the response lives.
    """
    for decision in decisions:
        taken = Conflict(
            f"Approval {decision.approval_request_id!r} was answered already.", code="approval_already_answered"
        )
        try:
            if not await state.store.claim_approval(decision.approval_request_id, response_id):
                raise taken
        except RedisDown:
            pass
        try:
            await state.temporal.start_workflow(
                APPROVAL_WORKFLOW,
                ApprovalClaim(response_id=response_id, decision=decision),
                id=f"approval-{decision.approval_request_id}",
                task_queue=TASK_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"{'approved' if decision.approve else 'denied'}: {decision.name}",
            )
        except WorkflowAlreadyStartedError:
            raise taken from None
