"""The request's `tools` (REQ-2). `tool_choice` is in `tool_choice.py`.

Functions and other tools of the client, hosted tools by name or all at once, MCP servers, and a provider's built-in
tools. A tool of any other type is rejected with its type in the error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from open_responses.json_types import JsonObject
from open_responses.schema.client_tools import (
    COMPUTER_TOOLS,
    ApplyPatchTool,
    Callers,
    CustomTool,
    LocalShellTool,
    ShellTool,
)
from open_responses.schema.mcp_tool import MAX_TOOLS, McpTool
from open_responses.schema.names import SLUG, FunctionName
from open_responses.schema.validation import (
    Hint,
    RequestObject,
    by_type,
    fault,
    kind_of,
    member,
    shorten,
    small_schema,
)

# Ours: before the first turn, the server requests the tools of all of them at once.
MAX_MCP_SERVERS = 32
# Ours: of a request, each function of a namespace counted.
MAX_FUNCTIONS = 1024

HOSTED_TOOLS = f"{SLUG}hosted_tools"
# Built-in tools of the vendors, by adapter: passed on as they are, under the vendor's own names and with its settings.
# Sources: `tools` of the Python SDKs openai 3.57, anthropic 2.14 (with its betas) and google-genai 3.6.
PROVIDER_TOOL_TYPES: Mapping[str, frozenset[str]] = {
    "openai": frozenset(
        {
            "code_interpreter",
            "file_search",
            "image_generation",
            "programmatic_tool_calling",
            "web_search",
            "web_search_2025_08_26",
            "web_search_preview",
            "web_search_preview_2025_03_11",
        }
    ),
    "anthropic": frozenset(
        {
            "bash_20250124",
            "code_execution_20250522",
            "code_execution_20250825",
            "code_execution_20260120",
            "code_execution_20260521",
            "computer_20250124",
            "computer_20251124",
            "memory_20250818",
            "text_editor_20250124",
            "text_editor_20250429",
            "text_editor_20250728",
            "web_fetch_20250910",
            "web_fetch_20260209",
            "web_fetch_20260309",
            "web_fetch_20260318",
            "web_search_20250305",
            "web_search_20260209",
            "web_search_20260318",
        }
    ),
    "gemini": frozenset({"code_execution", "google_maps", "google_search", "url_context"}),
}
# Of these, the tools that the provider only describes to the model, with the name that its calls have. The client runs
# them: a call is a function call, and its output a function's.
CLIENT_RUN_TOOLS: Mapping[str, str] = {
    "bash_20250124": "bash",
    "computer_20250124": "computer",
    "computer_20251124": "computer",
    "memory_20250818": "memory",
    "text_editor_20250124": "str_replace_editor",
    "text_editor_20250429": "str_replace_based_edit_tool",
    "text_editor_20250728": "str_replace_based_edit_tool",
}
ALL_PROVIDER_TOOLS = frozenset(kind for kinds in PROVIDER_TOOL_TYPES.values() for kind in kinds) | COMPUTER_TOOLS


def refuse_unsupported(value: Any) -> Any:
    """Reject a tool, or a choice of a tool, whose type this server does not run; return any other value unchanged."""
    kind = member(value, "type")
    if isinstance(kind, str) and kind.startswith(SLUG) and kind != HOSTED_TOOLS:
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
    }

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: Annotated[JsonObject, AfterValidator(looks_like_a_schema)] | None = None
    strict: bool | None = None
    # OpenAI's. A provider of another kind is not sent them: every tool is loaded at once, and the model calls it.
    defer_loading: bool | None = None
    allowed_callers: Callers | None = None
    output_schema: Annotated[JsonObject, AfterValidator(small_schema)] | None = None
    is_async: bool | None = Field(default=None, alias="async")


class NamespaceTool(RequestObject):
    """Functions and custom tools under one name, which their calls carry as `namespace`."""

    type: Literal["namespace"]
    name: FunctionName
    description: str | None = None
    tools: Annotated[
        list[
            Annotated[
                Annotated[FunctionTool, Tag("<function>")] | Annotated[CustomTool, Tag("<custom>")],
                by_type("an object with a tool", "function", "custom"),
            ]
        ],
        Field(min_length=1, max_length=MAX_TOOLS, fail_fast=True),
    ]


class ToolSearchTool(RequestObject):
    """A search over deferred tools. With `execution: client`, the client answers it, as it does a function call."""

    type: Literal["tool_search"]
    execution: Literal["server", "client"] | None = None
    description: str | None = None
    parameters: Annotated[JsonObject, AfterValidator(looks_like_a_schema)] | None = None

    @property
    def is_clients(self) -> bool:
        """Whether the client answers the search."""
        return self.execution == "client"


class ProviderTool(BaseModel):
    """A built-in tool of a provider, with that provider's settings, kept as it was sent."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    type: str


_VERSION = re.compile(r"_(?:\d{8}|\d{4}_\d{2}_\d{2})$")


def family_of(kind: str) -> str:
    """Return the type of a built-in tool without its date: `web_search_20260318` to `web_search`."""
    return _VERSION.sub("", kind)


class HostedTools(RequestObject):
    """All hosted tools of the server's configuration. An extension."""

    type: Literal["open_responses:hosted_tools"]


_ONCE = (HostedTools, ToolSearchTool, ShellTool, LocalShellTool, ApplyPatchTool)
_CLIENT_TYPES = ("function", "custom", "namespace", "tool_search", "shell", "local_shell", "apply_patch")
_TOOL_TYPES = (*_CLIENT_TYPES, "mcp", HOSTED_TOOLS)


def _tool_tag(value: Any) -> str | None:
    kind = member(value, "type")
    if isinstance(kind, str) and kind in ALL_PROVIDER_TOOLS:
        return "<provider>"
    return f"<{kind}>" if kind in _TOOL_TYPES else None


def _offered_tag(value: Any) -> str | None:
    tag = _tool_tag(value)
    return None if tag in ("<mcp>", f"<{HOSTED_TOOLS}>") else tag


_Offered: TypeAlias = (
    Annotated[FunctionTool, Tag("<function>")]
    | Annotated[CustomTool, Tag("<custom>")]
    | Annotated[NamespaceTool, Tag("<namespace>")]
    | Annotated[ToolSearchTool, Tag("<tool_search>")]
    | Annotated[ShellTool, Tag("<shell>")]
    | Annotated[LocalShellTool, Tag("<local_shell>")]
    | Annotated[ApplyPatchTool, Tag("<apply_patch>")]
    | Annotated[ProviderTool, Tag("<provider>")]
)
OfferedTool: TypeAlias = Annotated[
    _Offered,
    Discriminator(
        _offered_tag,
        "no_variant",
        "{what}",
        Hint(what="an object with a tool of the client's or the provider's", allowed=_CLIENT_TYPES),
    ),
]
"""A tool within an item of the input: all but those that this server runs, which stand in the request's `tools`."""

OfferedTools: TypeAlias = Annotated[list[OfferedTool], Field(max_length=MAX_TOOLS, fail_fast=True)]

Tool: TypeAlias = Annotated[
    _Offered | Annotated[McpTool, Tag("<mcp>")] | Annotated[HostedTools, Tag("<open_responses:hosted_tools>")],
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


def check_names_are_unique(tools: Sequence[Tool], path: str = "tools") -> None:
    """Check that no two tools of a request have the same name or label; otherwise a `fault`.

    `path` is the place of the tools in the request.
    """
    named = [(i, "name", tool.name) for i, tool in enumerate(tools) if isinstance(tool, FunctionTool | CustomTool)]
    _check_unique(named, path)
    spaces = [(i, tool) for i, tool in enumerate(tools) if isinstance(tool, NamespaceTool)]
    _check_unique([(i, "name", space.name) for i, space in spaces], path)
    for i, space in spaces:
        _check_unique([(j, "name", tool.name) for j, tool in enumerate(space.tools)], f"{path}[{i}].tools")
    _check_unique(
        [(i, "server_label", tool.server_label) for i, tool in enumerate(tools) if isinstance(tool, McpTool)], path
    )
    _check_unique([(i, "type", tool.type) for i, tool in enumerate(tools) if isinstance(tool, _ONCE)], path)
    count = len(tools) + sum(len(space.tools) for _, space in spaces)
    if count > MAX_FUNCTIONS:
        complaint = f"must have at most {MAX_FUNCTIONS} tools, those within namespaces included, but has {count}"
        raise fault("invalid_value", complaint, field=path)


def check_search_finds(tools: Sequence[Tool], offered: Iterable[Tool], *, continues: bool) -> None:
    """Check that a `tool_search` that the provider runs has a tool to find; otherwise a `fault`.

    Args:
        tools: The request's `tools`.
        offered: These, and the tools in the items of its input.
        continues: The request continues a response or a conversation, whose items may have such tools.
    """
    searches = [i for i, tool in enumerate(tools) if isinstance(tool, ToolSearchTool) and not tool.is_clients]
    if not searches or continues or any(map(_may_be_found, offered)):
        return
    complaint = (
        "is 'tool_search', but your request has no tool with 'defer_loading': true that it could find. Mark the tools "
        "to search, send 'execution': 'client' to answer the search yourself, or leave 'tool_search' out"
    )
    raise fault("invalid_value", complaint, field=f"tools[{searches[0]}].type")


def _may_be_found(tool: Tool) -> bool:
    if isinstance(tool, NamespaceTool):
        return any(inner.defer_loading is True for inner in tool.tools)
    return isinstance(tool, McpTool) or (isinstance(tool, FunctionTool | CustomTool) and tool.defer_loading is True)


def _check_unique(names: list[tuple[int, str, str]], path: str) -> None:
    for name, count in Counter(name for _, _, name in names).items():
        if count > 1:
            index, field, _ = [entry for entry in names if entry[2] == name][1]
            raise fault(
                "invalid_value",
                f"is '{name}' a second time. Give each tool its own name",
                field=f"{path}[{index}].{field}",
            )
