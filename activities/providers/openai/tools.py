"""Functions, built-in tools and the tool choice as OpenAI has them.

Source: OpenAI's API reference, `POST /responses`, by the types of its Python SDK (openai 3.54).
"""

from __future__ import annotations

from activities.providers.shared.root_schema import plain_root
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.schema.client_items import AdditionalTools
from open_responses.schema.tool_choice import (
    AllowedTools,
    ClientToolChoice,
    CustomChoice,
    FunctionChoice,
    McpChoice,
    ProviderToolChoice,
    is_chosen,
)
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
    return function | {"parameters": _schema(tool), "strict": tool.strict is True} | _own_members(tool)


def _own_members(tool: FunctionTool) -> JsonObject:
    """What OpenAI alone has: tools that are searched for, and programs that call them."""
    names = {"defer_loading", "allowed_callers", "output_schema", "is_async"}
    return tool.model_dump(mode="json", include=names, exclude_none=True)


def _schema(tool: FunctionTool) -> JsonObject:
    """OpenAI wants an object with properties."""
    given = tool.parameters or {}
    if tool.strict:
        return given or {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    return plain_root(given)[0]


def tool_choice_of(call: SampleCall) -> JsonObject:
    choice = call.tool_choice
    if not (call.tools or call.provider_tools or any(isinstance(item, AdditionalTools) for item in call.items)):
        return {}
    match choice:
        case None:
            return {}
        case str():
            return {"tool_choice": choice}
        case FunctionChoice() | CustomChoice() | ClientToolChoice():
            return {"tool_choice": choice.model_dump(mode="json", exclude_none=True)}
        case AllowedTools():
            return {"tool_choice": _allowed(choice, call)}
        case ProviderToolChoice():
            return {"tool_choice": choice.model_dump(mode="json")}
        case McpChoice():
            # The tool table names the functions of an MCP server by themselves; this is what is left of it without one.
            return {"tool_choice": "required"}


def _allowed(choice: AllowedTools, call: SampleCall) -> str | JsonObject:
    """OpenAI's own form, if all tools of the choice were sent: it rejects any other.

    MCP tools are functions here, under names that the choice does not have; the server enforces the set by itself.
    """
    if choice.mode == "none":
        return choice.mode
    known = {("function", tool.name) for tool in call.tools}
    known |= {(str(tool["type"]), str(tool.get("name", tool["type"]))) for tool in call.provider_tools}
    kinds = [str(tool["type"]) for tool in call.provider_tools]
    for one in choice.tools:
        if isinstance(one, ProviderToolChoice):
            was_sent = any(is_chosen(kind, one) for kind in kinds)
        else:
            was_sent = not isinstance(one, McpChoice) and (one.type, one.name) in known
        if not was_sent:
            return choice.mode
    tools = [one.model_dump(mode="json", exclude_none=True) for one in choice.tools]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}
