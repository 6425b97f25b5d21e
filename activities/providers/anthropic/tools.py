"""Functions and the provider's own tools as Anthropic's `tools`.

Sources: platform.claude.com/docs (Messages, structured outputs), the types of Anthropic's Python SDK 2.14.
"""

from __future__ import annotations

from collections.abc import Sequence

from activities.providers.anthropic.schema import native_schema
from open_responses.json_types import JsonObject
from open_responses.schema.tools import CLIENT_RUN_TOOLS, FunctionTool, family_of

_MAX_STRICT_TOOLS = 20


def tools_of(
    tools: Sequence[FunctionTool], provider_tools: Sequence[JsonObject], *, takes_strict: bool
) -> list[JsonObject]:
    """Return the functions, then the provider's own tools. `strict` is sent if the model has it and can express the
    schema."""
    is_strict = takes_strict and sum(tool.strict is True for tool in tools) <= _MAX_STRICT_TOOLS
    functions = [_function(tool, is_strict=is_strict and tool.strict is True) for tool in tools]
    return functions + [{"name": built_in_name(tool["type"]), **tool} for tool in provider_tools]


def built_in_name(kind: str) -> str:
    """Return the name that Anthropic's API requires of a built-in tool."""
    return CLIENT_RUN_TOOLS.get(kind) or family_of(kind)


def _function(tool: FunctionTool, *, is_strict: bool) -> JsonObject:
    function: JsonObject = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    schema = {"type": "object", "properties": {}, **(tool.parameters or {})}
    native = native_schema(schema) if is_strict else None
    return function | ({"input_schema": schema} if native is None else {"input_schema": native, "strict": True})
