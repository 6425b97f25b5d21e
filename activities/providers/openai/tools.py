"""Functions, built-in tools and the tool choice as OpenAI has them.

Source: OpenAI's API reference, `POST /responses`, by the types of its Python SDK (openai 3.54).
"""

from __future__ import annotations

from collections.abc import Sequence

from activities.providers.shared.root_schema import plain_root
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.schema.tool_choice import AllowedTools, FunctionChoice, McpChoice
from open_responses.schema.tools import FunctionTool


def tools_of(call: SampleCall) -> JsonObject:
    tools = [_function(tool) for tool in call.tools] + [dict(tool) for tool in call.provider_tools]
    if not tools:
        return {}
    parallel = call.request.parallel_tool_calls
    return {"tools": tools} | ({} if parallel is None else {"parallel_tool_calls": parallel})


def _function(tool: FunctionTool) -> JsonObject:
    """`strict` is always sent: where it is absent OpenAI takes it for true, and refuses schemas that do not fit."""
    function: JsonObject = {"type": "function", "name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    return function | {"parameters": _schema(tool), "strict": tool.strict is True}


def _schema(tool: FunctionTool) -> JsonObject:
    """OpenAI wants an object with properties."""
    given = tool.parameters or {}
    if tool.strict:
        return given or {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    return plain_root(given)[0]


def tool_choice_of(call: SampleCall) -> JsonObject:
    choice = call.tool_choice
    if not (call.tools or call.provider_tools):
        return {}
    match choice:
        case None:
            return {}
        case str():
            return {"tool_choice": choice}
        case FunctionChoice():
            return {"tool_choice": {"type": "function", "name": choice.name}}
        case AllowedTools():
            return {"tool_choice": _allowed(choice, call.tools)}
        case McpChoice():
            # The tool table names the functions of an MCP server by themselves; this is what is left of it without one.
            return {"tool_choice": "required"}


def _allowed(choice: AllowedTools, tools: Sequence[FunctionTool]) -> str | JsonObject:
    """OpenAI's own form, where it can say the same: it knows `auto` and `required`, and only tools that were sent.

    MCP tools are functions here, under names that the choice does not tell; the server enforces the set by itself.
    """
    known = {tool.name for tool in tools}
    names = [named.name for named in choice.tools if isinstance(named, FunctionChoice) and named.name in known]
    if choice.mode == "none" or len(names) < len(choice.tools):
        return choice.mode
    return {
        "type": "allowed_tools",
        "mode": choice.mode,
        "tools": [{"type": "function", "name": name} for name in names],
    }
