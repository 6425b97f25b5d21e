"""The items of tool calls in the output, and their ids.

Ids are derived from the response's id and the index of the item, and not random: a replay of the workflow's history has
to come to the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping
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

ITEM_PREFIXES: Mapping[str, str] = {
    "custom_tool_call": "ctc_",
    "shell_call": "sh_",
    "local_shell_call": "lsh_",
    "apply_patch_call": "apc_",
    "computer_call": "cu_",
    "tool_search_call": "tsc_",
    "tool_search_output": "tso_",
}
"""The prefixes of the ids of items of the client's tools, by type; OpenAI's own."""


def approval_id(response_id: str, index: int) -> str:
    """The id of an approval request. It contains the response's id, which leads to the stored call."""
    return member_id("mcpr_", response_id, index)


def response_of_approval(approval_request_id: str) -> str:
    """The id of the response that requested the approval, if this server made the approval's id."""
    return "resp_" + approval_request_id.removeprefix("mcpr_")[:-INDEX_DIGITS]


def approval_workflow_id(approval_request_id: str) -> str:
    """The id of the workflow that records which response used an approval. Temporal starts only one with that id."""
    return f"approval-{approval_request_id}"


def function_call(response_id: str, index: int, name: str, arguments: str) -> JsonObject:
    """Return a complete `function_call` item."""
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
    """The item while the tool runs."""
    item: FunctionCallOutputItem = {
        "type": "function_call_output",
        "id": member_id("fco_", response_id, index),
        "call_id": call_id,
        "output": "",
        "status": "in_progress",
    }
    return cast(JsonObject, item)


def mcp_call(item_id: str, server_label: str, name: str, arguments: str = "") -> JsonObject:
    """The item while the model writes the call, or the server makes it."""
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
    """Return an `mcp_list_tools` item that is in progress."""
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
    """Return an `mcp_approval_request` item."""
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
    """Return a refused call's item, with the reason that the model reads."""
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
