"""Built-in tools that this server runs itself, for the model of any provider: `web_search`, `file_search` and others.

A request offers such a tool by OpenAI's type (`{"type": "web_search"}`). If the configuration enables the tool, and
the provider lacks it, the model is offered functions in its place. A call becomes OpenAI's item (`web_search_call`)
with OpenAI's events, an activity runs it through the tool's `BuiltInEngine`, and the model reads the output as that of
a function, in this response and in later ones.

To add a tool:

1. Add a row to `BUILT_IN_TOOLS`: the types of the request, the functions for the model, the item and its events.
2. Add the tool's table: a subclass of `BuiltInToolConfig` as a field of `Config`, of the row's name.
3. Write the engine in a room of its own, `activities/tools/<name>/`, and add it to
   `activities/tool_calls/built_in_engines.py`.

`open_responses/tool_use/built_in_engine.py` says what an engine gets and returns.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from open_responses.json_types import JsonObject
from open_responses.schema.mcp_tool import HOSTED_LABEL
from open_responses.schema.payload import Payload
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import FunctionTool, ProviderTool
from open_responses.tool_use import web_search
from open_responses.tool_use.built_in_row import BuiltIn, Opening
from open_responses.tool_use.code_functions import (
    CODE_INTERPRETER,
    PROGRAMS,
    interpreter_functions,
    interpreter_opening,
    program_functions,
    program_opening,
)
from open_responses.tool_use.file_search import FILE_SEARCH, file_search_functions, queries_of

_LABEL = f"{HOSTED_LABEL}:"


class BuiltInTool(Payload):
    """A built-in tool with the configuration's limits at the start of the response.

    `max_calls` is the most calls of a program. `closed` has the functions of the tool that the model is not offered.
    `is_whole_python`: code runs in CPython.
    """

    name: str
    timeout_seconds: float = 60
    max_attempts: int = 3
    retry_seconds: float = 1
    require_approval: bool = False
    max_calls: int | None = None
    closed: list[str] = []  # noqa: RUF012
    is_whole_python: bool = False


def _file_search_opening(opening: Opening) -> JsonObject:
    return {"queries": queries_of(opening.arguments), "results": None}


BUILT_IN_TOOLS: Mapping[str, BuiltIn] = {
    row.name: row
    for row in (
        BuiltIn(
            name="web_search",
            types=frozenset(
                {"web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"}
            ),
            functions=web_search.functions_of,
            item_type="web_search_call",
            id_prefix="ws_",
            working="searching",
            opening=lambda opening: {"action": web_search.action_of(opening.function, opening.arguments)},
            check=web_search.check_settings,
            on_request=("web_search_call.action.sources", "web_search_call.results"),
            closed=web_search.closed_functions,
        ),
        BuiltIn(
            name=CODE_INTERPRETER,
            types=frozenset({"code_interpreter"}),
            functions=interpreter_functions,
            item_type="code_interpreter_call",
            id_prefix="ci_",
            working="interpreting",
            opening=interpreter_opening,
            streamed="code",
            on_request=("code_interpreter_call.outputs",),
        ),
        BuiltIn(
            name=PROGRAMS,
            types=frozenset({PROGRAMS}),
            functions=program_functions,
            item_type="program",
            id_prefix="prog_",
            working="",
            opening=program_opening,
        ),
        BuiltIn(
            name=FILE_SEARCH,
            types=frozenset({"file_search"}),
            functions=file_search_functions,
            item_type="file_search_call",
            id_prefix="fs_",
            working="searching",
            opening=_file_search_opening,
            on_request=("file_search_call.results",),
        ),
    )
}
"""Every built-in tool that this server can run, by name."""

_BY_TYPE: Mapping[str, BuiltIn] = {kind: row for row in BUILT_IN_TOOLS.values() for kind in row.types}
BY_ITEM_TYPE: Mapping[str, BuiltIn] = {row.item_type: row for row in BUILT_IN_TOOLS.values()}
"""Each row by the type of its items."""


def built_in_of(tool_type: str) -> BuiltIn | None:
    """Return the built-in tool that answers a type of the request's `tools`, or None."""
    return _BY_TYPE.get(tool_type)


def label_of(name: str) -> str:
    """Return the `server_label` that an approval request for a call of this tool has. No MCP server has a colon."""
    return f"{_LABEL}{name}"


def built_in_of_label(label: str) -> BuiltIn | None:
    """Return the built-in tool of an approval request's `server_label`, or None."""
    return BUILT_IN_TOOLS.get(label.removeprefix(_LABEL)) if label.startswith(_LABEL) else None


@dataclass(frozen=True, slots=True)
class OfferedBuiltIn:
    """A built-in tool that a request offers and this server runs, with its settings in the request.

    `closed` has the functions that the configuration takes from the model.
    """

    row: BuiltIn
    settings: JsonObject
    closed: Collection[str] = ()

    def functions(self) -> Sequence[FunctionTool]:
        """Return the functions that stand for the tool."""
        return [one for one in self.row.functions(self.settings) if one.name not in self.closed]


def offered_built_ins(
    request: CreateResponse, run_here: Collection[int], closed: Mapping[str, Collection[str]] | None = None
) -> list[OfferedBuiltIn]:
    """Return the built-in tools that this server runs, each once: the first of several tools counts.

    Args:
        request: The request.
        run_here: The indexes of these tools in the request's `tools`, as the routing decided.
        closed: The functions that the model is not offered, by the tool's name.
    """
    found: dict[str, OfferedBuiltIn] = {}
    for index, tool in enumerate(request.tools or []):
        if index in run_here and isinstance(tool, ProviderTool) and (row := built_in_of(tool.type)) is not None:
            settings = tool.model_dump(mode="json", exclude_unset=True)
            found.setdefault(row.name, OfferedBuiltIn(row, settings, (closed or {}).get(row.name, ())))
    return list(found.values())
