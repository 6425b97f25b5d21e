"""The request's `tool_choice`, and whether it fits the request's `tools` (REQ-2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from open_responses.schema.client_tools import ApplyPatchTool, CustomTool, LocalShellTool, ShellTool
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.tools import (
    ALL_PROVIDER_TOOLS,
    FunctionTool,
    HostedTools,
    NamespaceTool,
    ProviderTool,
    Tool,
    family_of,
    refuse_unsupported,
)
from open_responses.schema.validation import Hint, RequestObject, fault, member, shorten

# The specification's bound for `allowed_tools`.
MAX_ALLOWED_TOOLS = 128


class FunctionChoice(RequestObject):
    """One function that the model must call."""

    UNSUPPORTED: ClassVar[dict[str, str]] = {"function": "name stands beside type in the Responses API"}

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1)]
    namespace: str | None = None


class CustomChoice(RequestObject):
    """One custom tool that the model must call."""

    type: Literal["custom"]
    name: Annotated[str, Field(min_length=1)]
    namespace: str | None = None


class ClientToolChoice(RequestObject):
    """One of the client's tools without a name, by its type."""

    type: Literal["shell", "local_shell", "apply_patch"]

    @property
    def name(self) -> str:
        """The type stands for the name."""
        return self.type


class McpChoice(RequestObject):
    """One MCP server, or one tool of it."""

    type: Literal["mcp"]
    server_label: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)] | None = None


class ProviderToolChoice(BaseModel):
    """A built-in tool of the provider, by its type with or without the date: `{"type": "web_search"}`."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    type: str


_CLIENT_TYPES = ("shell", "local_shell", "apply_patch")
_NAMED = ("function", "custom", "mcp", *_CLIENT_TYPES)
_BUILT_IN = ALL_PROVIDER_TOOLS | {family_of(kind) for kind in ALL_PROVIDER_TOOLS}


def _named_tag(value: Any) -> str | None:
    kind = member(value, "type")
    if kind in _CLIENT_TYPES:
        return "<client>"
    if isinstance(kind, str) and kind in _BUILT_IN:
        return "<provider>"
    return f"<{kind}>" if kind in _NAMED else None


NamedTool: TypeAlias = Annotated[
    Annotated[FunctionChoice, Tag("<function>")]
    | Annotated[CustomChoice, Tag("<custom>")]
    | Annotated[ClientToolChoice, Tag("<client>")]
    | Annotated[McpChoice, Tag("<mcp>")]
    | Annotated[ProviderToolChoice, Tag("<provider>")],
    Discriminator(_named_tag, "no_variant", "{what}", Hint(what="an object that names a tool", allowed=_NAMED)),
    BeforeValidator(refuse_unsupported),
]


class AllowedTools(RequestObject):
    """A subset of `tools` that the server enforces. The model still reads all of `tools`."""

    type: Literal["allowed_tools"]
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=MAX_ALLOWED_TOOLS, fail_fast=True)]
    mode: Literal["none", "auto", "required"] = "auto"


ToolChoiceMode: TypeAlias = Literal["none", "auto", "required"]


_CHOICES = (*_NAMED, "allowed_tools")


def _choice_tag(value: Any) -> str | None:
    if isinstance(value, str):
        return "<mode>"
    return _named_tag(value) or ("<allowed_tools>" if member(value, "type") == "allowed_tools" else None)


ToolChoice: TypeAlias = Annotated[
    Annotated[ToolChoiceMode, Tag("<mode>")]
    | Annotated[FunctionChoice, Tag("<function>")]
    | Annotated[CustomChoice, Tag("<custom>")]
    | Annotated[ClientToolChoice, Tag("<client>")]
    | Annotated[McpChoice, Tag("<mcp>")]
    | Annotated[ProviderToolChoice, Tag("<provider>")]
    | Annotated[AllowedTools, Tag("<allowed_tools>")],
    Discriminator(
        _choice_tag,
        "no_variant",
        "{what}",
        Hint(what="'none', 'auto', 'required' or an object", allowed=_CHOICES),
    ),
    BeforeValidator(refuse_unsupported),
]


def check_choice_fits(choice: ToolChoice | None, tools: Sequence[Tool]) -> None:
    """Check that `tool_choice` names tools of the request (REQ-2), those in its items included.

    With all hosted tools in the request, the names are not checked here, because only the configuration has them
    (`check_hosted_choice`).
    """
    if choice == "required" and not tools:
        raise fault(
            "invalid_value", "is 'required', but your request has no tools. Send tools, or 'auto'", field="tool_choice"
        )
    built_in = [tool.type for tool in tools if isinstance(tool, ProviderTool)]
    for field, named in named_choices(choice):
        if isinstance(named, ProviderToolChoice) and not any(is_chosen(kind, named) for kind in built_in):
            _check_named(named.type, set(), f"{field}.type")
        namespace = getattr(named, "namespace", None)
        if namespace is not None and not _is_in(namespace, named, tools):
            _check_named(namespace, set(), f"{field}.namespace")
    if any(isinstance(tool, HostedTools) for tool in tools):
        return
    known = names_of_tools(tools)
    labels = {tool.server_label for tool in tools if isinstance(tool, McpTool)}
    for field, named in named_choices(choice):
        if isinstance(named, McpChoice):
            _check_named(named.server_label, labels, f"{field}.server_label")
        elif not isinstance(named, ProviderToolChoice):
            part = "type" if isinstance(named, ClientToolChoice) else "name"
            _check_named(named.name, known.get(named.type, set()), f"{field}.{part}")


def _is_in(namespace: str, named: NamedChoice, tools: Iterable[Tool]) -> bool:
    """Whether a namespace of this name has the tool."""
    wanted = (named.type, getattr(named, "name", None))
    spaces = [tool for tool in tools if isinstance(tool, NamespaceTool) and tool.name == namespace]
    return any((inner.type, inner.name) == wanted for space in spaces for inner in space.tools)


def is_chosen(kind: str, choice: object) -> bool:
    """Return whether a choice names a built-in tool of this type. A choice without a date names any version."""
    return isinstance(choice, ProviderToolChoice) and choice.type in (kind, family_of(kind))


def names_of_tools(tools: Iterable[Tool]) -> dict[str, set[str]]:
    """Type -> names, of the tools that a choice can name; those within namespaces by their own names."""
    names: dict[str, set[str]] = {}
    for tool in tools:
        for inner in tool.tools if isinstance(tool, NamespaceTool) else (tool,):
            if isinstance(inner, FunctionTool | CustomTool):
                names.setdefault(inner.type, set()).add(inner.name)
            elif isinstance(inner, ShellTool | LocalShellTool | ApplyPatchTool):
                names.setdefault(inner.type, set()).add(inner.type)
    return names


NamedChoice: TypeAlias = FunctionChoice | CustomChoice | ClientToolChoice | McpChoice | ProviderToolChoice


def named_choices(choice: ToolChoice | None) -> list[tuple[str, NamedChoice]]:
    """Return (path in the request, choice) of every tool that `tool_choice` names."""
    if isinstance(choice, AllowedTools):
        return [(f"tool_choice.tools[{index}]", named) for index, named in enumerate(choice.tools)]
    return [("tool_choice", choice)] if isinstance(choice, NamedChoice) else []


def _check_named(name: str, names: set[str], field: str) -> None:
    if name not in names:
        raise fault("invalid_value", f"is '{shorten(name)}', which is not in 'tools'. Add it there", field=field)
