"""The items that a tool call leaves in the output, and their ids.

Ids are derived, not drawn: the workflow has to make the same ones when its history is replayed.
"""

from __future__ import annotations

from typing import cast

from open_responses.ids import INDEX_DIGITS, member_id
from open_responses.json_types import JsonObject
from open_responses.schema.output_items import (
    FunctionCallItem,
    FunctionCallOutputItem,
    McpApprovalRequestItem,
    McpCallItem,
    McpListToolsItem,
    RefusedCallItem,
)


def approval_id(response_id: str, index: int) -> str:
    """Names the response that asks, so that an answer finds the stored call without an index."""
    return member_id("mcpr_", response_id, index)


def response_of_approval(approval_request_id: str) -> str:
    """The id of the response that asked, if the id is one of ours."""
    return "resp_" + approval_request_id.removeprefix("mcpr_")[:-INDEX_DIGITS]


def approval_workflow_id(approval_request_id: str) -> str:
    """The workflow that records who acted on an approval: its id can be taken once."""
    return f"approval-{approval_request_id}"


def function_call(response_id: str, index: int, name: str, arguments: str) -> JsonObject:
    item: FunctionCallItem = {
        "type": "function_call",
        "id": member_id("fc_", response_id, index),
        "call_id": member_id("call_", response_id, index),
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }
    return cast(JsonObject, item)


def function_call_output(response_id: str, index: int, call_id: str) -> JsonObject:
    """As it is while the tool runs."""
    item: FunctionCallOutputItem = {
        "type": "function_call_output",
        "id": member_id("fco_", response_id, index),
        "call_id": call_id,
        "output": "",
        "status": "in_progress",
    }
    return cast(JsonObject, item)


def mcp_call(item_id: str, server_label: str, name: str, arguments: str = "") -> JsonObject:
    """As it is while the call is written or made."""
    item: McpCallItem = {
        "type": "mcp_call",
        "id": item_id,
        "server_label": server_label,
        "name": name,
        "arguments": arguments,
        "output": None,
        "error": None,
        "approval_request_id": None,
        "status": "in_progress",
    }
    return cast(JsonObject, item)


def mcp_list_tools(response_id: str, index: int, server_label: str) -> JsonObject:
    item: McpListToolsItem = {
        "type": "mcp_list_tools",
        "id": member_id("mcpl_", response_id, index),
        "server_label": server_label,
        "tools": [],
        "error": None,
        "status": "in_progress",
    }
    return cast(JsonObject, item)


def mcp_approval_request(response_id: str, index: int, server_label: str, name: str, arguments: str) -> JsonObject:
    item: McpApprovalRequestItem = {
        "type": "mcp_approval_request",
        "id": approval_id(response_id, index),
        "server_label": server_label,
        "name": name,
        "arguments": arguments,
        "status": "completed",
    }
    return cast(JsonObject, item)


def refused_call(item_id: str, call_id: str, name: str, arguments: str, reason: str) -> JsonObject:
    item: RefusedCallItem = {
        "type": "open_responses:refused_call",
        "id": item_id,
        "call_id": call_id,
        "name": name,
        "arguments": arguments,
        "reason": reason,
        "status": "completed",
    }
    return cast(JsonObject, item)
