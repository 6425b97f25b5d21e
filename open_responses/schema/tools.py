"""The request's `tools` (REQ-2). `tool_choice` is in `tool_choice.py`.

Functions of the client, hosted tools by name or all at once, MCP servers, and a provider's built-in tools. A tool of
any other type is rejected with its type in the error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from open_responses.json_types import JsonObject
from open_responses.schema.items import SLUG, FunctionName
from open_responses.schema.mcp_tool import MAX_TOOLS, McpTool
from open_responses.schema.validation import Hint, RequestObject, fault, kind_of, member, shorten, small_schema

# Ours: before the first turn, the server requests the tools of all of them at once.
MAX_MCP_SERVERS = 32

HOSTED_TOOLS = f"{SLUG}hosted_tools"
UNSUPPORTED_TOOL_TYPES = frozenset(
    {
        "apply_patch",
        "computer",
        "computer_use",
        "computer_use_preview",
        "custom",
        "local_shell",
        "namespace",
        "programmatic_tool_calling",
        "shell",
        "tool_search",
    }
)
# Tools that a provider runs itself, by adapter. They are passed on unchanged, and rejected if the route's provider does
# not have them. The names and their settings are each vendor's own.
PROVIDER_TOOL_TYPES: Mapping[str, frozenset[str]] = {
    "openai": frozenset(
        {
            "code_interpreter",
            "file_search",
            "image_generation",
            "web_search",
            "web_search_2025_08_26",
            "web_search_preview",
            "web_search_preview_2025_03_11",
        }
    ),
    "anthropic": frozenset(
        {
            "code_execution_20250522",
            "code_execution_20250825",
            "web_fetch_20250910",
            "web_search_20250305",
        }
    ),
    "gemini": frozenset({"code_execution", "google_search", "url_context"}),
}
ALL_PROVIDER_TOOLS = frozenset(kind for kinds in PROVIDER_TOOL_TYPES.values() for kind in kinds)


def refuse_unsupported(value: Any) -> Any:
    """Reject a tool, or a choice of a tool, whose type this server does not run; return any other value unchanged."""
    kind = member(value, "type")
    if isinstance(kind, str) and (kind in UNSUPPORTED_TOOL_TYPES or (kind.startswith(SLUG) and kind != HOSTED_TOOLS)):
        raise fault(
            "unsupported_tool",
            f"is '{shorten(kind)}', which this server does not run. Leave the tool out",
            field="type",
        )
    return value


def looks_like_a_schema(schema: JsonObject) -> JsonObject:
    """Reject a schema that every provider would reject. Providers support different parts of JSON Schema."""
    if schema.get("type", "object") != "object":
        raise fault("invalid_value", "must be 'object', since a call names its arguments", field="type")
    if not isinstance(schema.get("properties", {}), dict):
        complaint = f"must be an object, but is {kind_of(schema['properties'])}"
        raise fault("invalid_type", complaint, field="properties")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise fault("invalid_type", "must be an array of strings", field="required")
    return small_schema(schema)


class FunctionTool(RequestObject):
    """A function that the client runs. `parameters` is a JSON Schema; None or {} takes no arguments."""

    # The Chat Completions shape, seen often enough to deserve a sentence of its own.
    UNSUPPORTED: ClassVar[dict[str, str]] = {
        "function": "name, description and parameters stand beside type in the Responses API",
        "allowed_callers": "functions are called by the model alone",
    }
    IGNORED: ClassVar[dict[str, str]] = {
        "defer_loading": "a hint that saves tokens: every tool is loaded at once",
        "output_schema": "describes the output to OpenAI's own programmatic caller",
    }

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: Annotated[JsonObject, AfterValidator(looks_like_a_schema)] | None = None
    strict: bool | None = None


class ProviderTool(BaseModel):
    """A built-in tool of a provider, with that provider's settings, kept as it was sent."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str


class HostedTools(RequestObject):
    """All hosted tools of the server's configuration. An extension."""

    type: Literal["open_responses:hosted_tools"]


_TOOL_TYPES = ("function", "mcp", HOSTED_TOOLS)


def _tool_tag(value: Any) -> str | None:
    kind = member(value, "type")
    if isinstance(kind, str) and kind in ALL_PROVIDER_TOOLS:
        return "<provider>"
    return f"<{kind}>" if kind in _TOOL_TYPES else None


Tool: TypeAlias = Annotated[
    Annotated[FunctionTool, Tag("<function>")]
    | Annotated[McpTool, Tag("<mcp>")]
    | Annotated[ProviderTool, Tag("<provider>")]
    | Annotated[HostedTools, Tag("<open_responses:hosted_tools>")],
    Discriminator(_tool_tag, "no_variant", "{what}", Hint(what="an object with a tool", allowed=_TOOL_TYPES)),
    BeforeValidator(refuse_unsupported),
]


def _are_few_servers(tools: list[Tool]) -> list[Tool]:
    servers = [index for index, tool in enumerate(tools) if isinstance(tool, McpTool)]
    if len(servers) > MAX_MCP_SERVERS:
        complaint = f"is one MCP server too many. Send at most {MAX_MCP_SERVERS}"
        raise fault("invalid_value", complaint, field=f"[{servers[MAX_MCP_SERVERS]}]")
    return tools


Tools: TypeAlias = Annotated[list[Tool], Field(max_length=MAX_TOOLS, fail_fast=True), AfterValidator(_are_few_servers)]


def check_names_are_unique(tools: list[Tool]) -> None:
    """Check that no two tools of a request have the same name or label; otherwise a `fault`."""
    _check_unique([(i, "name", tool.name) for i, tool in enumerate(tools) if isinstance(tool, FunctionTool)])
    _check_unique([(i, "server_label", tool.server_label) for i, tool in enumerate(tools) if isinstance(tool, McpTool)])
    _check_unique([(i, "type", tool.type) for i, tool in enumerate(tools) if isinstance(tool, HostedTools)])


def _check_unique(names: list[tuple[int, str, str]]) -> None:
    for name, count in Counter(name for _, _, name in names).items():
        if count > 1:
            index, field, _ = [entry for entry in names if entry[2] == name][1]
            raise fault(
                "invalid_value",
                f"is '{name}' a second time. Give each tool its own name",
                field=f"tools[{index}].{field}",
            )
