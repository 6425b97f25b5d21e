"""`tool_choice` in terms of the tool table: the choice that a provider is sent, and the calls that it allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from open_responses.schema.mcp_tool import HOSTED_LABEL
from open_responses.schema.tool_choice import (
    AllowedTools,
    ClientToolChoice,
    CustomChoice,
    FunctionChoice,
    McpChoice,
    NamedChoice,
    NamedTool,
    ProviderToolChoice,
    ToolChoice,
    is_chosen,
)
from open_responses.tool_use.built_in import OfferedBuiltIn, built_in_of_label
from open_responses.tool_use.mcp_functions import with_label
from open_responses.tool_use.route import Route


def as_functions(choice: ToolChoice | None, built_in: Sequence[OfferedBuiltIn]) -> ToolChoice | None:
    """Return the choice with the functions of the built-in tools that this server runs in place of the tools' types.

    A choice of the tool alone forces its first function.
    """
    if isinstance(choice, ProviderToolChoice):
        names = _function_names(choice, built_in)
        return FunctionChoice(type="function", name=names[0]) if names else choice
    if not isinstance(choice, AllowedTools) or not built_in:
        return choice
    named: list[NamedTool] = []
    for one in choice.tools:
        names = _function_names(one, built_in)
        named += [FunctionChoice(type="function", name=name) for name in names] or [one]
    return choice.model_copy(update={"tools": named})


def _function_names(choice: NamedTool, built_in: Sequence[OfferedBuiltIn]) -> list[str]:
    return [
        function.name
        for one in built_in
        if any(is_chosen(kind, choice) for kind in one.row.types)
        for function in one.functions()
    ]


def sent_choice(
    choice: ToolChoice | None, routes: Mapping[str, Route], *, spent: bool
) -> tuple[ToolChoice | None, frozenset[str] | None]:
    """Return the choice that is sent to the provider, and the names that may be called; None for all.

    Args:
        choice: The request's choice, after `as_functions`.
        routes: The route of each name in the table.
        spent: An earlier model turn has made the call that the choice forces. It is not forced again.
    """
    if choice == "none":
        return "none", frozenset()
    if isinstance(choice, AllowedTools):
        names = frozenset(name for named in choice.tools for name in _names_of(named, routes))
        if choice.mode == "none":
            return "none", frozenset()
        return choice.model_copy(update={"mode": "auto"}) if spent else choice, names
    if choice is None or spent:
        return None if choice is None else "auto", None
    if isinstance(choice, McpChoice):
        names = frozenset(_names_of(choice, routes))
        if len(names) == 1:
            return FunctionChoice(type="function", name=next(iter(names))), names
        return ("required", names) if names else ("none", names)
    if isinstance(choice, FunctionChoice | CustomChoice | ClientToolChoice):
        return choice, frozenset(_names_of(choice, routes))
    return choice, None


def by_function_names(choice: ToolChoice | None, routes: Mapping[str, Route]) -> ToolChoice | None:
    """Return the choice by the names of functions, for a provider that has no other tools of the client."""
    if isinstance(choice, FunctionChoice | CustomChoice | ClientToolChoice):
        return FunctionChoice(type="function", name=_names_of(choice, routes)[0])
    if isinstance(choice, AllowedTools):
        return choice.model_copy(update={"tools": [_as_function(named, routes) for named in choice.tools]})
    return choice


def _as_function(named: NamedChoice, routes: Mapping[str, Route]) -> NamedChoice:
    if isinstance(named, McpChoice | ProviderToolChoice):
        return named
    return FunctionChoice(type="function", name=_names_of(named, routes)[0])


def choice_allows(choice: ToolChoice | None, server_label: str, tool: str) -> bool:
    """Return whether a call that a person approved may run in a request with this choice.

    A choice that forces a call applies to the next call of the model, not to an approved one.
    """
    if choice == "none":
        return False
    if not isinstance(choice, AllowedTools):
        return True
    return choice.mode != "none" and any(_is_named(named, server_label, tool) for named in choice.tools)


def _is_named(named: NamedChoice, server_label: str, tool: str) -> bool:
    if isinstance(named, McpChoice):
        return named.server_label == server_label and named.name in (None, tool)
    if isinstance(named, ProviderToolChoice):
        row = built_in_of_label(server_label)
        return row is not None and any(is_chosen(kind, named) for kind in row.types)
    if not isinstance(named, FunctionChoice):
        return False
    return named.name == tool or (server_label != HOSTED_LABEL and named.name == with_label(server_label, tool))


def _names_of(named: NamedChoice, routes: Mapping[str, Route]) -> list[str]:
    """The names in the table that a choice means: any number for an MCP server, none for a built-in tool, else one."""
    if isinstance(named, ProviderToolChoice):
        return []
    if not isinstance(named, McpChoice):
        wanted = getattr(named, "namespace", None)
        found = [
            shown
            for shown, route in routes.items()
            if (route.kind, route.form, route.tool) == ("client", named.type, named.name)
            and wanted in (None, route.namespace)
        ]
        return sorted(found, key=lambda shown: routes[shown].namespace is not None)[:1] or [named.name]
    return [
        name
        for name, route in routes.items()
        if route.kind == "mcp"
        and route.server_label == named.server_label
        and (named.name is None or route.tool == named.name)
    ]
