"""Tools that a request offers."""

from __future__ import annotations

from typing import Any

from open_responses.json_types import JsonObject
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import FunctionTool
from open_responses.tool_use.hosted_tool import HostedTool
from open_responses.tool_use.tool_table import ToolTable, build_tool_table

MINE = {"type": "function", "name": "mine", "parameters": {"type": "object", "properties": {}}}
OF_CALC = {"type": "mcp", "server_label": "calc"}
CALC = {"type": "mcp", "server_label": "calc", "require_approval": "never"}
LISTS: dict[str, list[JsonObject]] = {
    "calc": [
        {"name": "add", "input_schema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
        {"name": "rm -rf", "input_schema": {"type": "object"}},
    ]
}


def tool_table(tools: list[JsonObject], choice: Any = None, *, spent: bool = False, **settings: Any) -> ToolTable:
    body: JsonObject = {"model": "m", "input": "x", "tools": tools, **settings}
    if choice is not None:
        body["tool_choice"] = choice
    request = CreateResponse.model_validate(body)
    hosted = [HostedTool(name="search"), HostedTool(name="delete", require_approval=True)]
    definitions = {name: FunctionTool(type="function", name=name) for name in ("search", "delete")}
    items = request.input_items()
    return build_tool_table(request, hosted, definitions, LISTS, choice_spent=spent, items=items)
