"""The request's `tools` and `tool_choice` (REQ-2).

Functions of the client, hosted tools by name or all at once, MCP servers, and a provider's built-in tools. Each other
kind is refused by its name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from open_responses.json_types import JsonObject
from open_responses.schema.items import SLUG, FunctionName
from open_responses.schema.validation import Hint, RequestObject, either, fault, kind_of, member, shorten, small_schema

# OpenAI's API takes 128 tools; room for a gateway that joins several MCP servers.
MAX_TOOLS = 512
# The specification's bound for `allowed_tools`.
MAX_ALLOWED_TOOLS = 128
# Ours: each is asked for its tools, all of them at once, before the first turn.
MAX_MCP_SERVERS = 32

HOSTED_LABEL = "open_responses"
"""The `server_label` of an approval request for a hosted tool."""

_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._~-]+)?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE = re.compile(r"([!-~]([\t -~]*[!-~])?)?")
# A request may not set the headers that frame a message or name its destination.
_HEADERS_OF_HTTP = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

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
# Tools that a provider runs itself, by adapter: handed on as they are, and refused where the route's provider has none.
# The names and their settings are each vendor's own.
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
_ALL_PROVIDER_TOOLS = frozenset(kind for kinds in PROVIDER_TOOL_TYPES.values() for kind in kinds)


def _refuse_unsupported(value: Any) -> Any:
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


def _refuse_forcing(value: Any) -> Any:
    """Reject a choice that forces one of the provider's built-in tools: only the model chooses them."""
    kind = member(value, "type")
    if isinstance(kind, str) and kind in _ALL_PROVIDER_TOOLS:
        raise fault("unsupported_tool", f"is '{shorten(kind)}', which you cannot force here. Send 'auto'", field="type")
    return _refuse_unsupported(value)


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


class ToolFilter(RequestObject):
    """A subset of a server's tools: by name, by the tools' own read-only annotation, or both."""

    tool_names: Annotated[list[str], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    read_only: bool | None = None

    def includes(self, name: str, *, read_only: bool) -> bool:
        """Return whether the subset has a tool."""
        if self.tool_names is not None and name not in self.tool_names:
            return False
        return self.read_only is None or self.read_only == read_only


class ApprovalFilter(RequestObject):
    """The tools that always, and those that never need an approval. A tool in neither list needs one."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None


def _is_http(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
        is_host = _HOST.fullmatch((parts.hostname or "").encode("idna").decode()) is not None
    except ValueError:
        raise fault("invalid_value", "must be a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise fault("invalid_value", "must be an http or https URL")
    if not is_host or not url.isprintable() or " " in url:
        raise fault("invalid_value", "must be a URL")
    if parts.username is not None or parts.password is not None:
        raise fault("invalid_value", "must not have credentials. Send them in 'authorization' or 'headers'")
    return url


def _is_header_value(value: str) -> str:
    """Check a header value. The error does not repeat the value, which may be a secret."""
    if not _HEADER_VALUE.fullmatch(value):
        raise fault("invalid_value", "must be printable ASCII, in one line, without spaces around it")
    return value


def _are_headers(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if not _HEADER_NAME.fullmatch(name):
            raise fault("invalid_value", f"has {shorten(name)!r}, which is not a header's name. Correct it")
        if name.lower() in _HEADERS_OF_HTTP:
            raise fault("invalid_value", f"has {shorten(name)!r}, which a request may not set. Leave it out")
    return headers


def _is_not_ours(label: str) -> str:
    if label == HOSTED_LABEL:
        raise fault("invalid_value", f"is {label!r}, the label of the server's own tools. Choose another")
    return label


HeaderValue: TypeAlias = Annotated[str, Field(max_length=16_384), AfterValidator(_is_header_value)]


class McpTool(RequestObject):
    """The tools of an MCP server, as OpenAI's API has it. Without `server_url`, the label names a configured server.

    `headers` and `authorization` (a token, sent as `Authorization: Bearer …`) are sealed before they leave the API.
    """

    UNSUPPORTED: ClassVar[dict[str, str]] = {
        "connector_id": "OpenAI's own connectors. Send 'server_url' instead",
        "tunnel_id": "OpenAI's own tunnels. Send 'server_url' instead",
    }
    IGNORED: ClassVar[dict[str, str]] = {
        "server_description": "helps OpenAI's tool search",
        "defer_loading": "a hint that saves tokens: every tool is loaded at once",
        "allowed_callers": "tools are called by the model alone",
    }

    type: Literal["mcp"]
    server_label: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$"), AfterValidator(_is_not_ours)]
    server_url: Annotated[str, Field(max_length=2048), AfterValidator(_is_http)] | None = None
    headers: Annotated[dict[str, HeaderValue], Field(max_length=64), AfterValidator(_are_headers)] | None = None
    authorization: HeaderValue | None = None
    allowed_tools: (
        Annotated[
            Annotated[list[str], Field(max_length=MAX_TOOLS, fail_fast=True), Tag("<names>")]
            | Annotated[ToolFilter, Tag("<filter>")],
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
        """Return whether `allowed_tools` includes a tool of the server."""
        if self.allowed_tools is None:
            return True
        if isinstance(self.allowed_tools, list):
            return name in self.allowed_tools
        return self.allowed_tools.includes(name, read_only=read_only)

    def needs_approval(self, name: str, *, read_only: bool) -> bool:
        """Return whether a call of a tool needs approval. By default every call does, as in OpenAI's API."""
        wanted = self.require_approval or "always"
        if isinstance(wanted, str):
            return wanted == "always"
        if wanted.always is not None and wanted.always.includes(name, read_only=read_only):
            return True
        return wanted.never is None or not wanted.never.includes(name, read_only=read_only)

    @property
    def may_need_approval(self) -> bool:
        """Whether a call may need approval, as far as is known before the server has listed its tools."""
        if self.require_approval == "never":
            return False
        if isinstance(self.allowed_tools, list):
            return any(self.needs_approval(name, read_only=False) for name in self.allowed_tools)
        return True


_TOOL_TYPES = ("function", "mcp", HOSTED_TOOLS)


def _tool_tag(value: Any) -> str | None:
    kind = member(value, "type")
    if isinstance(kind, str) and kind in _ALL_PROVIDER_TOOLS:
        return "<provider>"
    return f"<{kind}>" if kind in _TOOL_TYPES else None


Tool: TypeAlias = Annotated[
    Annotated[FunctionTool, Tag("<function>")]
    | Annotated[McpTool, Tag("<mcp>")]
    | Annotated[ProviderTool, Tag("<provider>")]
    | Annotated[HostedTools, Tag("<open_responses:hosted_tools>")],
    Discriminator(_tool_tag, "no_variant", "{what}", Hint(what="an object with a tool", allowed=_TOOL_TYPES)),
    BeforeValidator(_refuse_unsupported),
]


def _are_few_servers(tools: list[Tool]) -> list[Tool]:
    servers = [index for index, tool in enumerate(tools) if isinstance(tool, McpTool)]
    if len(servers) > MAX_MCP_SERVERS:
        complaint = f"is one MCP server too many. Send at most {MAX_MCP_SERVERS}"
        raise fault("invalid_value", complaint, field=f"[{servers[MAX_MCP_SERVERS]}]")
    return tools


Tools: TypeAlias = Annotated[list[Tool], Field(max_length=MAX_TOOLS, fail_fast=True), AfterValidator(_are_few_servers)]


class FunctionChoice(RequestObject):
    """One function that the model must call."""

    UNSUPPORTED: ClassVar[dict[str, str]] = {"function": "name stands beside type in the Responses API"}

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1)]


class McpChoice(RequestObject):
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
    BeforeValidator(_refuse_forcing),
]


class AllowedTools(RequestObject):
    """A subset of `tools` that the server enforces. The model still reads all of `tools`."""

    type: Literal["allowed_tools"]
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=MAX_ALLOWED_TOOLS, fail_fast=True)]
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
    BeforeValidator(_refuse_forcing),
]


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


def check_choice_fits(choice: ToolChoice | None, tools: list[Tool]) -> None:
    """Check that `tool_choice` names tools of the request (REQ-2).

    Names are not checked here where all hosted tools are offered: the configuration knows them, `check_hosted_choice`.
    """
    if choice == "required" and not tools:
        raise fault(
            "invalid_value", "is 'required', but your request has no tools. Send tools, or 'auto'", field="tool_choice"
        )
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
    """Return (path in the request, choice) of every tool that `tool_choice` names."""
    if isinstance(choice, AllowedTools):
        return [(f"tool_choice.tools[{index}]", named) for index, named in enumerate(choice.tools)]
    return [("tool_choice", choice)] if isinstance(choice, FunctionChoice | McpChoice) else []


def _check_named(name: str, names: set[str], field: str) -> None:
    if name not in names:
        raise fault("invalid_value", f"is '{shorten(name)}', which is not in 'tools'. Add it there", field=field)
