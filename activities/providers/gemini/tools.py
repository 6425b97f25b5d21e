"""Functions and built-in tools as Gemini's `tools` and `toolConfig`.

Sources: ai.google.dev/api/caching (Tool, ToolConfig), /gemini-api/docs/function-calling (modes), /tool-combination.
"""

from __future__ import annotations

from activities.providers.gemini.models import is_gemini_3
from activities.providers.gemini.schema import gemini_schema
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.schema.tool_choice import AllowedTools, FunctionChoice
from open_responses.schema.tools import FunctionTool


def tool_settings(call: SampleCall) -> JsonObject:
    """Return `tools` and `toolConfig`. Google rejects combinations of tools that the model does not support."""
    # Gemini's modes are about functions alone: without the tool, it cannot be used.
    offered = [] if call.tool_choice == "none" else call.provider_tools
    built_in = [_built_in(tool) for tool in offered]
    declared = [{"functionDeclarations": [_declaration(tool) for tool in call.tools]}] if call.tools else []
    settings: JsonObject = {"tools": built_in + declared} if built_in or declared else {}
    config: JsonObject = {}
    if call.tools and (calling := _calling_config(call, has_built_in=bool(built_in))):
        config["functionCallingConfig"] = calling
    if call.tools and built_in and is_gemini_3(call.model):
        # Without this, Gemini 3 rejects functions together with built-in tools. With it, the answer has the built-in
        # calls as parts.
        config["includeServerSideToolInvocations"] = True
    return settings | ({"toolConfig": config} if config else {})


def _built_in(tool: JsonObject) -> JsonObject:
    """`{"type": "google_search", …}` to `{"googleSearch": {…}}`."""
    first, *others = str(tool["type"]).split("_")
    return {first + "".join(map(str.capitalize, others)): {k: v for k, v in tool.items() if k != "type"}}


def _declaration(tool: FunctionTool) -> JsonObject:
    declared: JsonObject = {"name": tool.name, "description": tool.description or ""}
    if tool.parameters:
        declared["parametersJsonSchema"] = gemini_schema({"type": "object", **tool.parameters})
    return declared


def _calling_config(call: SampleCall, *, has_built_in: bool) -> JsonObject:
    """Return the mode. VALIDATED is AUTO with an enforced schema: for strict functions, and where AUTO is not
    allowed."""
    choice = call.tool_choice
    checked = any(tool.strict for tool in call.tools) or (has_built_in and is_gemini_3(call.model))
    if isinstance(choice, FunctionChoice):
        return {"mode": "ANY", "allowedFunctionNames": [choice.name]}
    if isinstance(choice, AllowedTools):
        return _allowed_config(choice, checked=checked)
    if choice in ("none", "required"):
        return {"mode": "NONE" if choice == "none" else "ANY"}
    if checked:
        return {"mode": "VALIDATED"}
    return {"mode": "AUTO"} if choice == "auto" else {}


def _allowed_config(choice: AllowedTools, *, checked: bool) -> JsonObject:
    """Only ANY and VALIDATED accept names. If the set names an MCP server, whose functions are not known here, only
    this server enforces the set.
    """
    names = [named.name for named in choice.tools if isinstance(named, FunctionChoice)]
    limit: JsonObject = {"allowedFunctionNames": names} if len(names) == len(choice.tools) else {}
    if choice.mode == "none":
        return {"mode": "NONE"}
    if choice.mode == "required":
        return {"mode": "ANY", **limit}
    return {"mode": "VALIDATED", **limit} if limit or checked else {"mode": "AUTO"}
