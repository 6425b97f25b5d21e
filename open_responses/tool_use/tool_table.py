"""The tool table of a model turn: the functions that the model may call, and where a call to a name goes (REQ-2).

The model reads a list of functions. A name may be that of the client's function, of a hosted tool or of a tool of an
MCP server; `tool_choice` may forbid it, or it may be unknown. The stream, the workflow and the provider use the same
table: with two, a call could be streamed as the client's and run by the server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from open_responses.json_types import JsonObject
from open_responses.schema.items import InputItem
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tool_choice import AllowedTools, ToolChoice, is_chosen
from open_responses.schema.tools import CLIENT_RUN_TOOLS, FunctionTool, ProviderTool
from open_responses.tool_use.allowed_calls import as_functions, by_function_names, sent_choice
from open_responses.tool_use.built_in import OfferedBuiltIn, label_of
from open_responses.tool_use.built_in_calls import EarlierCalls
from open_responses.tool_use.client_functions import Form, Key, client_tools, native_tools, offered_tools, shown_name
from open_responses.tool_use.code_functions import RUN_PROGRAM
from open_responses.tool_use.hosted_tool import HostedTool, as_asked
from open_responses.tool_use.mcp_functions import FUNCTION_NAME, add_server
from open_responses.tool_use.programs import callable_functions
from open_responses.tool_use.route import Route

_SHOWN_NAMES = 40


@dataclass(frozen=True, slots=True)
class ToolTable:
    """The tools of one model turn. `functions` and `choice` are sent to the provider; `route` routes the calls.

    `native` are the client's tools that are no plain functions, as they were sent: for a provider that has them itself,
    and empty for any other. `is_native` says which it is. `shown` has the names of the client's tools in the table.
    `built_in` has the built-in tools that this server runs, by the names of their functions, and `earlier` is what the
    context has of their earlier calls. `by_programs` are the functions that a program may call.
    """

    functions: Sequence[FunctionTool] = ()
    native: Sequence[JsonObject] = ()
    is_native: bool = False
    choice: ToolChoice | None = None
    parallel: bool = True
    allowed: frozenset[str] | None = None
    provider_tools: Sequence[JsonObject] = ()
    routes: Mapping[str, Route] = field(default_factory=dict)
    shown: Mapping[Key, str] = field(default_factory=dict)
    built_in: Mapping[str, OfferedBuiltIn] = field(default_factory=dict)
    earlier: EarlierCalls = field(default_factory=EarlierCalls)
    by_programs: Sequence[JsonObject] = ()

    def route(self, called: str, namespace: str | None = None) -> Route:
        """The route of a call to this name. `refused`, with the reason, if the call may not run.

        Args:
            called: The name that the model called.
            namespace: The namespace that the provider gave with the call.
        """
        name = self._shown(called, namespace)
        known = self.routes.get(name)
        if self.allowed is not None and name not in self.allowed:
            return Route("refused", name, reason=self._forbidden(name, known is not None))
        if known is not None:
            return known
        runs_here = any(route.kind != "client" for route in self.routes.values())
        if runs_here or not all(FUNCTION_NAME.fullmatch(part) for part in (name, namespace) if part is not None):
            return Route("refused", name, reason=f"There is no tool named {name[:64]!r}. {self._there_is()}")
        # If all functions are the client's, the client answers calls to unknown names, too.
        return Route("client", name, namespace=namespace)

    def shown_name(self, form: Form, namespace: str | None, name: str) -> str:
        """The name of the function that stands for a tool of the client, also of one that is not offered any more."""
        return self.shown.get((form, namespace, name)) or shown_name(namespace, name)

    def _shown(self, called: str, namespace: str | None) -> str:
        """The name in the table that a call means. Models also write the bare name of a function of a namespace."""
        if namespace is None and called in self.routes:
            return called
        meant = [
            shown
            for shown, route in self.routes.items()
            if route.kind == "client"
            and (
                (route.namespace, route.tool) == (namespace, called)
                or (namespace is None and route.namespace is not None and called in _spellings(route))
            )
        ]
        return meant[0] if len(meant) == 1 else called

    def _forbidden(self, name: str, exists: bool) -> str:
        if not exists:
            return f"There is no tool named {name[:64]!r}. {self._there_is()}"
        if not self.allowed:
            return f"The tool {name!r} was not run: this request allows no tool calls."
        return f"The tool {name!r} was not run: this request does not allow it. {self._there_is()}"

    def _there_is(self) -> str:
        names = sorted(self.routes if self.allowed is None else self.allowed)
        if not names:
            return "There are no tools; answer without them."
        listed = ", ".join(names[:_SHOWN_NAMES]) + (", …" if len(names) > _SHOWN_NAMES else "")
        return f"Available: {listed}."


def build_tool_table(
    request: CreateResponse,
    hosted: Sequence[HostedTool],
    definitions: Mapping[str, FunctionTool],
    lists: Mapping[str, Sequence[JsonObject]],
    *,
    choice_spent: bool,
    omitted: Collection[int] = (),
    items: Sequence[InputItem] = (),
    is_native: bool = False,
    built_in: Sequence[OfferedBuiltIn] = (),
    guarded: Collection[str] = (),
    earlier: EarlierCalls | None = None,
) -> ToolTable:
    """The table of one model turn.

    Args:
        request: The request.
        hosted: The hosted tools that the response may call.
        definitions: The functions of the hosted tools that this worker has loaded, by name.
        lists: The tools of each MCP server, by label, as in its `mcp_list_tools` item.
        choice_spent: An earlier model turn has made the call that `tool_choice` forces. It is not forced again, or the
            response would never end.
        omitted: The indexes of the built-in tools that the provider is not sent: it lacks them, or they run here.
        items: The conversation, whose items may add tools.
        is_native: The provider has OpenAI's tools itself, and reads the items that add some.
        built_in: The built-in tools that this server runs for the provider.
        guarded: The names of those whose calls need an approval.
        earlier: The context's earlier calls of such tools.
    """
    functions: list[FunctionTool] = []
    routes: dict[str, Route] = {}
    by_name = {tool.name: tool for tool in hosted}
    given = [t for t in request.tools or [] if not (isinstance(t, FunctionTool) and t.name in by_name)]
    offered = [t for t in offered_tools(given, items) if not (isinstance(t, FunctionTool) and t.name in by_name)]
    shown: dict[Key, str] = {}
    provider_tools = _provider_tools(request, omitted)
    client_run = {CLIENT_RUN_TOOLS[tool["type"]] for tool in provider_tools if tool["type"] in CLIENT_RUN_TOOLS}
    routes |= {name: Route("client", name) for name in client_run}
    for client in client_tools(offered, {*by_name, *client_run}, is_native=is_native):
        routes[client.shown] = Route("client", client.name, form=client.form, namespace=client.namespace)
        shown[client.form, client.namespace, client.name] = client.shown
        if not is_native:
            functions.append(client.function)
    if is_native:
        functions += [tool for tool in given if isinstance(tool, FunctionTool)]
    for name, run_here in by_name.items():
        routes[name] = Route("hosted", name, needs_approval=run_here.require_approval)
        if name in definitions:
            functions.append(as_asked(definitions[name], request))
    offers: dict[str, OfferedBuiltIn] = {}
    for one in built_in:
        for function in one.functions():
            functions.append(function)
            offers[function.name] = one
            routes[function.name] = Route(
                "built_in", function.name, label_of(one.row.name), needs_approval=one.row.name in guarded
            )
    for server in (tool for tool in request.tools or [] if isinstance(tool, McpTool)):
        add_server(server, lists.get(server.server_label, ()), functions, routes)
    asked = as_functions(request.tool_choice, built_in)
    choice, allowed = sent_choice(asked, routes, spent=choice_spent)
    if not is_native:
        choice = by_function_names(choice, routes)
    if allowed is not None and isinstance(choice, AllowedTools):
        # Only those that `allowed_tools` names are left of them.
        allowed |= client_run
    by_programs: Sequence[JsonObject] = ()
    if RUN_PROGRAM in offers:
        found = callable_functions(request, functions, routes, allowed)
        by_programs = found.functions
        functions = [
            _with_callable(one, found.description) if one.name == RUN_PROGRAM else one
            for one in functions
            if one.name not in found.hidden
        ]
        routes |= {name: _only_by_programs(name) for name in found.hidden}
    native = native_tools(given) if is_native else ()
    if isinstance(choice, AllowedTools) and not allowed and not provider_tools:
        # All that is allowed was left out.
        choice = "none"
    if not (functions or native or provider_tools or (is_native and routes)):
        choice = None
    return ToolTable(
        functions=functions,
        native=native,
        is_native=is_native,
        choice=choice,
        parallel=request.parallel_tool_calls is not False,
        allowed=allowed,
        provider_tools=provider_tools,
        routes=routes,
        shown=shown,
        built_in=offers,
        earlier=earlier or EarlierCalls(),
        by_programs=by_programs,
    )


def _with_callable(function: FunctionTool, functions: str) -> FunctionTool:
    return function.model_copy(update={"description": f"{function.description}\nFunctions:\n{functions}"})


def _only_by_programs(name: str) -> Route:
    return Route("refused", name, reason=f"Only a program may call {name!r}: call it in the code of {RUN_PROGRAM!r}.")


def _provider_tools(request: CreateResponse, omitted: Collection[int]) -> list[JsonObject]:
    """The built-in tools that the provider is sent, as the request has them.

    The provider runs them itself, so a tool that `allowed_tools` does not name is not offered at all.
    """
    choice = request.tool_choice
    named = choice.tools if isinstance(choice, AllowedTools) else None
    return [
        tool.model_dump(mode="json", exclude_unset=True)
        for index, tool in enumerate(request.tools or [])
        if isinstance(tool, ProviderTool)
        and index not in omitted
        and (named is None or any(is_chosen(tool.type, one) for one in named))
    ]


def _spellings(route: Route) -> tuple[str, ...]:
    return route.tool, f"{route.namespace}.{route.tool}", f"{route.namespace}/{route.tool}"
