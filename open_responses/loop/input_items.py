"""A request's input as a list of items with ids and statuses, which `GET …/input_items` returns."""

from __future__ import annotations

from open_responses.ids import FIRST_INPUT_INDEX, member_id
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse
from open_responses.tool_use.tool_items import ITEM_PREFIXES

_WITH_STATUS = frozenset(
    {"message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"}
)
_PREFIXES = {
    "message": "msg_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    **ITEM_PREFIXES,
    "reasoning": "rs_",
    "mcp_call": "mcp_",
    "mcp_list_tools": "mcpl_",
    "compaction": "cmp_",
}


def listed_input(start: StartResponse) -> list[JsonObject]:
    """The items, oldest first. An item without an id gets one, the same at every call."""
    response_id, given = start.response_id, start.given_input()
    if isinstance(given, str):
        given = [{"type": "message", "role": "user", "content": given}]
    return [_listed(response_id, index, item) for index, item in enumerate(given)]


def _listed(response_id: str, index: int, item: JsonObject) -> JsonObject:
    kind = item.get("type") or "message"
    return as_listed(item, member_id(prefix_of(kind), response_id, FIRST_INPUT_INDEX + index))


def prefix_of(kind: str) -> str:
    """The prefix of the ids of items of this type."""
    return _PREFIXES.get(kind, "item_")


def as_listed(item: JsonObject, own_id: str) -> JsonObject:
    """The item with a type, an id (`own_id` if it has none) and a status (ITEM-1), and a message with content parts."""
    kind = item.get("type") or "message"
    listed = {**item, "type": kind, "id": item.get("id") or own_id}
    if kind in _WITH_STATUS:
        listed["status"] = item.get("status") or "completed"
    if kind == "message":
        content = item["content"]
        if isinstance(content, str):
            part = "output_text" if item["role"] == "assistant" else "input_text"
            extra: JsonObject = {"annotations": [], "logprobs": []} if part == "output_text" else {}
            content = [{"type": part, "text": content, **extra}]
        listed["content"] = [_whole_part(part) for part in content]
    return listed


def _whole_part(part: JsonObject) -> JsonObject:
    if part.get("type") != "input_image":
        return part
    return {**part, "detail": part.get("detail") or "auto"}
