"""The request's `tools` and `tool_choice` (REQ-2).

Functions of the client, hosted tools by name or all at once, and MCP servers. Each other kind is refused by its name.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from open_responses.items import SLUG, FunctionName
from open_responses.json_types import JsonObject
from open_responses.validation import Hint, Settings, either, fault, kind_of, member, shorten

# OpenAI's API takes 128 tools; room for a gateway that joins several MCP servers.
MAX_TOOLS = 512
# The specification's bound for `allowed_tools`.
MAX_ALLOWED_TOOLS = 128

HOSTED_TOOLS = f"{SLUG}hosted_tools"
UNSUPPORTED_TOOL_TYPES = frozenset(
    {
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use",
        "computer_use_preview",
        "custom",
        "file_search",
        "image_generation",
        "local_shell",
        "namespace",
        "programmatic_tool_calling",
        "shell",
        "tool_search",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    }
)


def _refuse_unsupported(value: Any) -> Any:
    kind = member(value, "type")
    if isinstance(kind, str) and (kind in UNSUPPORTED_TOOL_TYPES or (kind.startswith(SLUG) and kind != HOSTED_TOOLS)):
        raise fault("unsupported_tool", f"names '{shorten(kind)}', which this server does not run", field="type")
    return value


def _looks_like_a_schema(schema: JsonObject) -> JsonObject:
    """Only what would surely fail later: providers differ in how much of JSON Schema they take."""
    if schema.get("type", "object") != "object":
        raise fault("invalid_value", "must be 'object': arguments are named", field="type")
    if not isinstance(schema.get("properties", {}), dict):
        complaint = f"must be an object, but is {kind_of(schema['properties'])}"
        raise fault("invalid_type", complaint, field="properties")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise fault("invalid_type", "must be an array of strings", field="required")
    return schema


class FunctionTool(Settings):
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
    parameters: Annotated[JsonObject, AfterValidator(_looks_like_a_schema)] | None = None
    strict: bool | None = None


class HostedTools(Settings):
    """All tools that the server's configuration offers: an extension."""

    type: Literal["open_responses:hosted_tools"]


class ToolFilter(Settings):
    """A subset of a server's tools: by name, by their own word that they change nothing, or both."""

    tool_names: Annotated[list[str], Field(max_length=MAX_TOOLS)] | None = None
    read_only: bool | None = None

    def includes(self, name: str, *, read_only: bool) -> bool:
        if self.tool_names is not None and name not in self.tool_names:
            return False
        return self.read_only is None or self.read_only == read_only


class ApprovalFilter(Settings):
    """Which tools always, and which never need an approval. What neither names needs one."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None


def _is_http(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise fault("invalid_value", "is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise fault("invalid_value", "must be an http or https URL")
    if parts.username is not None or parts.password is not None:
        raise fault("invalid_value", "must not carry credentials: send them in 'authorization' or 'headers'")
    return url


class McpTool(Settings):
    """The tools of an MCP server, as OpenAI's API has it. Without `server_url`, the label names a configured server.

    `headers` and `authorization` (a token, sent as `Authorization: Bearer …`) are sealed before they leave the API.
    """

    UNSUPPORTED: ClassVar[dict[str, str]] = {
        "connector_id": "OpenAI's own connectors; name a server_url",
        "tunnel_id": "OpenAI's own tunnels; name a server_url",
    }
    IGNORED: ClassVar[dict[str, str]] = {
        "server_description": "helps OpenAI's tool search",
        "defer_loading": "a hint that saves tokens: every tool is loaded at once",
        "allowed_callers": "tools are called by the model alone",
    }

    type: Literal["mcp"]
    server_label: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")]
    server_url: Annotated[str, Field(max_length=2048), AfterValidator(_is_http)] | None = None
    headers: Annotated[dict[str, Annotated[str, Field(max_length=16_384)]], Field(max_length=64)] | None = None
    authorization: Annotated[str, Field(max_length=16_384)] | None = None
    allowed_tools: (
        Annotated[
            Annotated[list[str], Field(max_length=MAX_TOOLS), Tag("<names>")] | Annotated[ToolFilter, Tag("<filter>")],
            either("an array of names or an object", names=list, filter=dict | ToolFilter),
        ]
        | None
    ) = None
    require_approval: (
        Annotated[
            Annotated[Literal["always", "never"], Tag("<mode>")] | Annotated[ApprovalFilter, Tag("<filter>")],
            either("'always', 'never' or an object", mode=str, filter=dict | ApprovalFilter),
        ]
        | None
    ) = None

    def offers(self, name: str, *, read_only: bool) -> bool:
        """Whether `allowed_tools` lets this tool of the server through."""
        if self.allowed_tools is None:
            return True
        if isinstance(self.allowed_tools, list):
            return name in self.allowed_tools
        return self.allowed_tools.includes(name, read_only=read_only)

    def needs_approval(self, name: str, *, read_only: bool) -> bool:
        """OpenAI's default: everything does, unless the request says otherwise."""
        wanted = self.require_approval or "always"
        if isinstance(wanted, str):
            return wanted == "always"
        if wanted.always is not None and wanted.always.includes(name, read_only=read_only):
            return True
        return wanted.never is None or not wanted.never.includes(name, read_only=read_only)


_TOOL_TYPES = ("function", "mcp", HOSTED_TOOLS)


def _tool_tag(value: Any) -> str | None:
    kind = member(value, "type")
    return f"<{kind}>" if kind in _TOOL_TYPES else None


Tool: TypeAlias = Annotated[
    Annotated[FunctionTool, Tag("<function>")]
    | Annotated[McpTool, Tag("<mcp>")]
    | Annotated[HostedTools, Tag("<open_responses:hosted_tools>")],
    Discriminator(_tool_tag, "no_variant", "{what}", Hint(what="an object with a tool", allowed=_TOOL_TYPES)),
    BeforeValidator(_refuse_unsupported),
]
Tools: TypeAlias = Annotated[list[Tool], Field(max_length=MAX_TOOLS)]


class FunctionChoice(Settings):
    UNSUPPORTED: ClassVar[dict[str, str]] = {"function": "name stands beside type in the Responses API"}

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1)]


class McpChoice(Settings):
    """One MCP server, or one tool of it."""

    type: Literal["mcp"]
    server_label: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)] | None = None


_NAMED = ("function", "mcp")


def _named_tag(value: Any) -> str | None:
    kind = member(value, "type")
    return f"<{kind}>" if kind in _NAMED else None


NamedTool: TypeAlias = Annotated[
    Annotated[FunctionChoice, Tag("<function>")] | Annotated[McpChoice, Tag("<mcp>")],
    Discriminator(_named_tag, "no_variant", "{what}", Hint(what="an object that names a tool", allowed=_NAMED)),
    BeforeValidator(_refuse_unsupported),
]


class AllowedTools(Settings):
    """A subset of `tools`, which the server enforces; `tools` itself goes to the model unchanged."""

    type: Literal["allowed_tools"]
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=MAX_ALLOWED_TOOLS)]
    mode: Literal["none", "auto", "required"] = "auto"


ToolChoiceMode: TypeAlias = Literal["none", "auto", "required"]


_CHOICES = ("function", "mcp", "allowed_tools")


def _choice_tag(value: Any) -> str | None:
    if isinstance(value, str):
        return "<mode>"
    kind = member(value, "type")
    return f"<{kind}>" if kind in _CHOICES else None


ToolChoice: TypeAlias = Annotated[
    Annotated[ToolChoiceMode, Tag("<mode>")]
    | Annotated[FunctionChoice, Tag("<function>")]
    | Annotated[McpChoice, Tag("<mcp>")]
    | Annotated[AllowedTools, Tag("<allowed_tools>")],
    Discriminator(
        _choice_tag,
        "no_variant",
        "{what}",
        Hint(what="'none', 'auto', 'required' or an object", allowed=_CHOICES),
    ),
    BeforeValidator(_refuse_unsupported),
]


def check_names_are_unique(tools: list[Tool]) -> None:
    _check_unique([(i, "name", tool.name) for i, tool in enumerate(tools) if isinstance(tool, FunctionTool)])
    _check_unique([(i, "server_label", tool.server_label) for i, tool in enumerate(tools) if isinstance(tool, McpTool)])
    _check_unique([(i, "type", tool.type) for i, tool in enumerate(tools) if isinstance(tool, HostedTools)])


def _check_unique(names: list[tuple[int, str, str]]) -> None:
    for name, count in Counter(name for _, _, name in names).items():
        if count > 1:
            index, field, _ = [entry for entry in names if entry[2] == name][1]
            raise fault(
                "invalid_value", f"is '{name}' a second time; names are unique", field=f"tools[{index}].{field}"
            )


def check_choice_fits(choice: ToolChoice | None, tools: list[Tool]) -> None:
    """A choice that names no tool of the request could never be kept (REQ-2).

    Names are not checked here where all hosted tools are offered: the configuration knows them, `check_hosted_choice`.
    """
    if choice == "required" and not tools:
        raise fault("invalid_value", "is 'required', but the request has no tools", field="tool_choice")
    if any(isinstance(tool, HostedTools) for tool in tools):
        return
    functions = {tool.name for tool in tools if isinstance(tool, FunctionTool)}
    labels = {tool.server_label for tool in tools if isinstance(tool, McpTool)}
    for field, named in named_choices(choice):
        if isinstance(named, McpChoice):
            _check_named(named.server_label, labels, f"{field}.server_label")
        else:
            _check_named(named.name, functions, f"{field}.name")


def named_choices(choice: ToolChoice | None) -> list[tuple[str, FunctionChoice | McpChoice]]:
    """(path in the request, choice) of every tool that `tool_choice` names."""
    if isinstance(choice, AllowedTools):
        return [(f"tool_choice.tools[{index}]", named) for index, named in enumerate(choice.tools)]
    return [("tool_choice", choice)] if isinstance(choice, FunctionChoice | McpChoice) else []


def _check_named(name: str, names: set[str], field: str) -> None:
    if name not in names:
        raise fault("invalid_value", f"is '{shorten(name)}', which is not in tools", field=field)
