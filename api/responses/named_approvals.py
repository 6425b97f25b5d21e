"""The stored calls that the approvals in a request's input name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from api.lookup import OwnedRecords
from open_responses.context.transcript import approval_of
from open_responses.errors import NotFound
from open_responses.io.store.records import Record
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import BuiltInCall
from open_responses.schema.items import AssistantMessage, FunctionCall, InputItem
from open_responses.schema.mcp_items import McpApprovalRequest, McpApprovalResponse, McpCall, McpTools
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.requests import CreateResponse
from open_responses.tool_use.tool_items import response_of_approval


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call that waits for an approval. `asking` is the response that asked for it. `listed` are the tools of its MCP
    server as the model was shown them, where the request restricts these."""

    asking: Record
    item: JsonObject
    listed: Sequence[JsonObject] = ()


@dataclass(frozen=True, slots=True)
class NamedApproval:
    """An approval or a denial in the input, at `param`, and the call that it names; None where this conversation has
    no such call."""

    answer: McpApprovalResponse
    param: str
    call: StoredCall | None


async def named_approvals(
    records: OwnedRecords, asked: CreateResponse, conversation: Sequence[JsonObject] = ()
) -> tuple[NamedApproval, ...]:
    """As far as the first that names no call of this conversation: the request is refused for that one.

    `conversation` are the items of the one that the request names. Raises ContextTooLarge.
    """
    shown = {item.id for item in asked.input_items() if isinstance(item, McpApprovalRequest)}
    shown |= {item["id"] for item in conversation if item["type"] == "mcp_approval_request"}
    found: list[NamedApproval] = []
    for answer, param in _unsettled(asked.input_items()):
        call = await _stored_call(records, asked, conversation, shown, answer, param)
        found.append(NamedApproval(answer, param, call))
        if call is None:
            break
    return tuple(found)


def _unsettled(items: Sequence[InputItem]) -> Iterator[tuple[McpApprovalResponse, str]]:
    """The answers that are no history yet, and their parameters."""
    settled = {id for item in items if (id := _settles(item)) is not None}
    for index, item in enumerate(items):
        if not isinstance(item, McpApprovalResponse) or item.approval_request_id in settled:
            continue
        if not item.approve and any(isinstance(later, AssistantMessage) for later in items[index:]):
            # History as well: the model has spoken since, and a denial leaves no call.
            continue
        yield item, f"input[{index}].approval_request_id"


def _settles(item: InputItem) -> str | None:
    """The approval that a call in the input was made on: that part of the conversation is history."""
    if isinstance(item, McpCall | BuiltInCall):
        return item.approval_request_id
    return approval_of(item) if isinstance(item, FunctionCall) else None


async def _stored_call(
    records: OwnedRecords,
    asked: CreateResponse,
    conversation: Sequence[JsonObject],
    shown: Set[str],
    answer: McpApprovalResponse,
    param: str,
) -> StoredCall | None:
    try:
        asking = await records.get(response_of_approval(answer.approval_request_id), param)
    except NotFound:
        return None
    item = next((item for item in asking.output if item["id"] == answer.approval_request_id), None)
    if item is None or not await _is_of_this_conversation(records, asked, shown, asking, answer):
        return None
    server = mcp_server_of(asked, item["server_label"])
    if not answer.approve or server is None or server.allowed_tools is None:
        return StoredCall(asking, item)
    return StoredCall(
        asking, item, await listed_tools(records, asked, conversation, asking, server.server_label, param)
    )


def mcp_server_of(asked: CreateResponse, label: str) -> McpTool | None:
    """The MCP server that a request brings under this label."""
    return next((tool for tool in asked.tools or [] if isinstance(tool, McpTool) and tool.server_label == label), None)


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


async def listed_tools(
    records: OwnedRecords,
    asked: CreateResponse,
    conversation: Sequence[JsonObject],
    asking: Record,
    label: str,
    param: str,
) -> Sequence[JsonObject]:
    """The tools of an MCP server as the model of `asking` was told of them. Raises ContextTooLarge."""
    for shown in reversed(asked.input_items()):
        if isinstance(shown, McpTools) and shown.server_label == label:
            return shown.tools
    for output in (asking.output, conversation):
        if (tools := _listed_in(output, label)) is not None:
            return tools
    async for record in records.behind(asking, param):
        if (tools := _listed_in(record.output, label)) is not None:
            return tools
    return ()


def _listed_in(output: Sequence[JsonObject], label: str) -> list[JsonObject] | None:
    found = (i for i in reversed(output) if i["type"] == "mcp_list_tools" and i["server_label"] == label)
    item = next(found, None)
    return None if item is None else item["tools"]
