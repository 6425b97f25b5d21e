"""The request's `tool_choice`, and whether it fits the request's `tools` (REQ-2)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Discriminator, Field, Tag

from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.tools import (
    ALL_PROVIDER_TOOLS,
    FunctionTool,
    HostedTools,
    Tool,
    refuse_unsupported,
)
from open_responses.schema.validation import Hint, RequestObject, fault, member, shorten

# The specification's bound for `allowed_tools`.
MAX_ALLOWED_TOOLS = 128


def _refuse_forcing(value: Any) -> Any:
    """Reject a choice that forces one of the provider's built-in tools: only the model chooses them."""
    kind = member(value, "type")
    if isinstance(kind, str) and kind in ALL_PROVIDER_TOOLS:
        raise fault("unsupported_tool", f"is '{shorten(kind)}', which you cannot force here. Send 'auto'", field="type")
    return refuse_unsupported(value)


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


def check_choice_fits(choice: ToolChoice | None, tools: list[Tool]) -> None:
    """Check that `tool_choice` names tools of the request (REQ-2).

    With all hosted tools in the request, the names are not checked here, because only the configuration has them
    (`check_hosted_choice`).
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
