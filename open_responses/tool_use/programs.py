"""What a program that a model writes may call: the functions, and how the model reads of them.

OpenAI calls this programmatic tool calling. A tool whose `allowed_callers` are only `programmatic` is not offered to
the model itself; its signature stands in the description of the function that runs programs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from open_responses.contracts import ToolOutput
from open_responses.json_types import JsonObject
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import FunctionTool, ProviderTool
from open_responses.tool_use.built_in import built_in_of, label_of
from open_responses.tool_use.code_functions import CODE_INTERPRETER, RUN_PROGRAM
from open_responses.tool_use.route import Route

_SHOWN_DESCRIPTION = 500
_LONGEST_ANSWER = 1_000_000
_KINDS = ("hosted", "mcp", "built_in")
# Code within code: its state would be that of a container, and its time that of two limits.
_NOT_CALLED = (RUN_PROGRAM, CODE_INTERPRETER)


@dataclass(frozen=True, slots=True)
class Callable:
    """The functions of a model turn, as programs see them.

    Attributes:
        functions: What a program may call, as `ProgramFunction` has it.
        hidden: The names of those that the model itself may not call.
        description: What the model reads about them.
    """

    functions: Sequence[JsonObject]
    hidden: Collection[str]
    description: str


def callable_functions(
    request: CreateResponse,
    functions: Sequence[FunctionTool],
    routes: Mapping[str, Route],
    allowed: Collection[str] | None,
) -> Callable:
    """Return what a program may call of the functions of a model turn.

    Args:
        request: The request, with the `allowed_callers` of its tools.
        functions: The functions of the model turn.
        routes: Where a call to each name goes.
        allowed: The names that `tool_choice` allows; None for all.
    """
    callers = _callers(request)
    listed: list[JsonObject] = []
    hidden, lines = set[str](), list[str]()
    for tool in clients_for_programs(request):
        if (allowed is None or tool.name in allowed) and _is_the_clients(routes.get(tool.name)):
            names = _parameters_of(tool)
            listed.append({"name": tool.name, "kind": "client", "tool": tool.name, "parameters": names})
            lines.append(_signature(tool, names, is_hidden="direct" not in (tool.allowed_callers or ())))
    for function in functions:
        route = routes.get(function.name)
        if route is None or route.kind not in _KINDS or function.name in _NOT_CALLED:
            continue
        if allowed is not None and function.name not in allowed:
            continue
        asked = callers.get(function.name if route.kind == "hosted" else route.server_label)
        if asked is not None and "programmatic" not in asked:
            continue
        if asked is not None and "direct" not in asked:
            hidden.add(function.name)
        names = _parameters_of(function)
        listed.append(
            {
                "name": function.name,
                "kind": route.kind,
                "tool": route.tool,
                **({} if route.kind == "hosted" else {"server_label": route.server_label}),
                "parameters": names,
                **({"needs_approval": True} if route.needs_approval else {}),
            }
        )
        lines.append(_signature(function, names, is_hidden=function.name in hidden))
    return Callable(listed, hidden, "\n".join(lines) or "(none)")


def text_for_program(output: ToolOutput) -> str:
    """The output of a call as a program gets it: text."""
    text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
    return text if len(text) <= _LONGEST_ANSWER else text[:_LONGEST_ANSWER] + " …"


def clients_for_programs(request: CreateResponse) -> list[FunctionTool]:
    """The functions of the client that programs may call. The client has to say so: each call ends the response."""
    return [
        tool
        for tool in request.tools or []
        if isinstance(tool, FunctionTool) and "programmatic" in (tool.allowed_callers or ())
    ]


def _is_the_clients(route: Route | None) -> bool:
    """Whether no tool of the server has the name. A function for programs alone has no route."""
    return route is None or route.kind == "client"


def _parameters_of(function: FunctionTool) -> list[str]:
    properties = (function.parameters or {}).get("properties")
    return list(properties) if isinstance(properties, dict) else []


def _callers(request: CreateResponse) -> dict[str, Collection[str] | None]:
    """`allowed_callers` by the name of a function, or the label of an MCP server or a built-in tool."""
    found: dict[str, Collection[str] | None] = {}
    for tool in request.tools or []:
        if isinstance(tool, McpTool):
            found[tool.server_label] = tool.allowed_callers
        elif isinstance(tool, FunctionTool):
            found[tool.name] = tool.allowed_callers
        elif isinstance(tool, ProviderTool) and (row := built_in_of(tool.type)) is not None:
            given = (tool.model_extra or {}).get("allowed_callers")
            found[label_of(row.name)] = given if isinstance(given, list) else None
    return found


def _signature(function: FunctionTool, names: Sequence[str], *, is_hidden: bool) -> str:
    """`get_page(url, depth)`; with its description, if the model reads of it nowhere else."""
    line = f"- {function.name}({', '.join(names)})"
    about = " ".join((function.description or "").split())
    if not is_hidden or not about:
        return line
    return f"{line}: {about if len(about) <= _SHOWN_DESCRIPTION else about[:_SHOWN_DESCRIPTION] + '…'}"
