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

An engine gets one `BuiltInRun` and returns one `BuiltInResult`. It need not know items, events or Temporal. If its
worker dies, the call runs again with the same `context.idempotency_key`. A `ToolError` is a final error, which the
model reads; any other exception is attempted again. Whatever happens, the call ends as an item, and the response goes
on.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from open_responses.config_tables.built_in import BuiltInToolConfig
from open_responses.contracts import ToolContext, ToolOutput
from open_responses.ids import member_id
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import CALL
from open_responses.schema.mcp_tool import HOSTED_LABEL
from open_responses.schema.payload import Payload
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import FunctionTool, ProviderTool
from open_responses.tool_use import web_search
from open_responses.tool_use.file_search import FILE_SEARCH, file_search_functions, queries_of

# Behind the numbers of all calls that are counted.
_FIRST_APPROVED, _APPROVED = 100_000, 900_000

_LABEL = f"{HOSTED_LABEL}:"

CITE = (
    "Cite what you use from this result: behind each statement, repeat the mark in 【 】 of its source exactly as it "
    "stands here, for example 【1:2】. Write no links of your own."
)
"""Ends the output of a call that has citations."""


class BuiltInTool(Payload):
    """A built-in tool with the configuration's limits at the start of the response.

    `max_calls` is the most calls of a program.
    """

    name: str
    timeout_seconds: float = 60
    max_attempts: int = 3
    retry_seconds: float = 1
    require_approval: bool = False
    max_calls: int | None = None


@dataclass(frozen=True, slots=True)
class BuiltInRun:
    """One attempt at a call, as an engine gets it.

    Attributes:
        context: The response, the tenant, the attempt, the idempotency key, and the ways to report progress and to see
            a cancellation. `context.tool` is the tool's name.
        function: The name of the function that the model called, one of the tool's.
        arguments: The arguments that the model wrote. They are a JSON object, and are not checked otherwise.
        settings: The tool as the request has it, with its parameters (`vector_store_ids`, `user_location` …).
        item: The item as it stands, in OpenAI's form. `item["id"]` is the call's id.
        ordinal: The number of the call among those of the context, from 1.
    """

    context: ToolContext
    function: str
    arguments: JsonObject
    settings: JsonObject
    item: JsonObject
    ordinal: int = 1

    def mark(self, index: int) -> str:
        """Return the mark with which the model cites `BuiltInResult.citations[index]`. Write it into the output."""
        return f"【{self.ordinal}:{index + 1}】"


@dataclass(frozen=True, slots=True)
class BuiltInResult:
    """The result of a call.

    Attributes:
        output: The text, or content parts, that the model reads. The server adds how to cite, if there are citations.
        item: The members of the finished item in OpenAI's form, all of them: the server leaves out those that `include`
            has to name (`action.sources`, `results`, `outputs`).
        citations: The sources that the model may cite, as annotations without indexes:
            `{"type": "url_citation", "url", "title"}`, `{"type": "file_citation", "file_id", "filename"}` or
            `{"type": "container_file_citation", "container_id", "file_id", "filename"}`. The output shows each with its
            mark.
        failed: Whether the item ends as `failed`. `output` then has the error.
    """

    output: ToolOutput
    item: JsonObject = field(default_factory=dict)
    citations: Sequence[JsonObject] = ()
    failed: bool = False


class BuiltInEngine(Protocol):
    """Runs the calls of one built-in tool. One object serves all calls of a worker, many at the same time."""

    async def run(self, call: BuiltInRun) -> BuiltInResult:
        """Run one call.

        Args:
            call: The call.

        Returns:
            The result.

        Raises:
            ToolError: A final error, such as arguments that do not fit. The model reads its message.
            Exception: Any other error. The call may be attempted again.
        """
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """A call whose item begins.

    Attributes:
        response_id: The response.
        function: The name of the function that the model called.
        arguments: The arguments, as far as they are known: none yet of a call whose text is streamed.
        settings: The tool as the request has it.
        newest: The newest earlier item of the same type in the context, in OpenAI's form; None if there is none.
        item_id: The id of the item.
        functions: What a program may call (`ProgramFunction`).
    """

    response_id: str
    function: str
    arguments: JsonObject
    settings: JsonObject
    newest: JsonObject | None = None
    item_id: str = ""
    functions: Sequence[JsonObject] = ()


def _nothing(_: Opening) -> JsonObject:
    return {}


def _anything(_: JsonObject, __: BuiltInToolConfig, ___: str) -> None:
    """Accept all settings."""


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A row of the table.

    Attributes:
        name: The tool's name: of its table in the configuration, of its engine, and in the scope of an API key.
        types: The types of the request's `tools` that it answers.
        functions: The functions that the model is offered, made from the tool in the request. `tool_choice` with the
            tool's type forces the first.
        item_type: The type of the item.
        id_prefix: The prefix of the item's id.
        working: The last word of the event that says that the call runs, behind `in_progress`. Empty for an item
            without events of its own.
        opening: The members of the item when it begins, beside `type`, `id` and `status`.
        check: Raises InvalidRequest for a tool of a request with settings that the server's own engine cannot follow.
            It gets the tool, the configuration's table, and the tool's path in the request.
        streamed: The argument that is streamed as the item's own text (`CALL_TEXTS`); None if there is none. A tool
            with a streamed argument has one function, with this argument alone.
        on_request: Members of the item that `include` has to name, by the value of `include`. Each has its path.
    """

    name: str
    types: frozenset[str]
    functions: Callable[[JsonObject], Sequence[FunctionTool]]
    item_type: str
    id_prefix: str
    working: str
    opening: Callable[[Opening], JsonObject] = _nothing
    check: Callable[[JsonObject, BuiltInToolConfig, str], None] = _anything
    streamed: str | None = None
    on_request: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


CODE_INTERPRETER = "code_interpreter"
_PYTHON = (
    "Runs Python code and returns what it prints, and the value of a last line that is an expression. Variables and "
    "functions stay from call to call. "
)
_SUBSET = (
    "The Python is a sandboxed subset: the built-in types, functions, classes, "
    "comprehensions, exceptions, f-strings, async, and the standard modules asyncio, collections, csv, datetime, "
    "decimal, functools, itertools, json, math, random, re, string, sys, time and typing as far as they exist. There "
    "is no network, and there are no other packages (no numpy, no pandas, no matplotlib), no generators (yield) and no "
    "del statement. "
)


_NO_FILES = "There are no files."
_FILES = (
    "The files of the user are in /mnt/data, which cannot be written to: os.listdir('/mnt/data') has their names, and "
    "open('/mnt/data/…') reads one."
)


def _interpreter_functions(settings: JsonObject) -> Sequence[FunctionTool]:
    container = settings.get("container")
    has_files = isinstance(container, dict) and bool(container.get("file_ids"))
    about = _PYTHON + _SUBSET + (_FILES if has_files else _NO_FILES)
    return (_function_of_code(CODE_INTERPRETER, about, "The Python code."),)


def _function_of_code(name: str, description: str, about_code: str) -> FunctionTool:
    return FunctionTool(
        type="function",
        name=name,
        description=description,
        parameters={
            "type": "object",
            "properties": {"code": {"type": "string", "description": about_code}},
            "required": ["code"],
            "additionalProperties": False,
        },
    )


def _interpreter_opening(opening: Opening) -> JsonObject:
    asked, newest = opening.settings.get("container"), opening.newest or {}
    container = asked if isinstance(asked, str) else newest.get("container_id")
    return {
        "code": "",
        "container_id": container or member_id("cntr_", opening.response_id, 0),
        "outputs": [],
    }


PROGRAMS = "programmatic_tool_calling"
RUN_PROGRAM = "run_program"
_PROGRAM = (
    "Runs a Python program that calls functions, and returns what it prints. Use it for many calls, for loops over "
    "records, and to filter or combine results without reading them all. Call a function with its arguments by name: "
    "`await name(argument=value)`. Await several together with asyncio.gather to run them side by side. A result that "
    "is a JSON object or array arrives as a dict or list, any other as a string. A failed call raises RuntimeError. "
    "The program starts anew each time, and sees no variables of earlier ones. Print what you want to read. "
)


def _program_functions(_: JsonObject) -> Sequence[FunctionTool]:
    return (_function_of_code(RUN_PROGRAM, _PROGRAM + _SUBSET + _NO_FILES, "The Python program."),)


def _program_opening(opening: Opening) -> JsonObject:
    code = opening.arguments.get("code")
    written = code if isinstance(code, str) else ""
    fingerprint = hashlib.sha256(written.encode("utf-8", "replace")).hexdigest()
    return {"call_id": f"call_{opening.item_id.partition('_')[2]}", "code": written, "fingerprint": fingerprint}


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
            on_request={"web_search_call.action.sources": ("action", "sources")},
        ),
        BuiltIn(
            name=CODE_INTERPRETER,
            types=frozenset({"code_interpreter"}),
            functions=_interpreter_functions,
            item_type="code_interpreter_call",
            id_prefix="ci_",
            working="interpreting",
            opening=_interpreter_opening,
            streamed="code",
            on_request={"code_interpreter_call.outputs": ("outputs",)},
        ),
        BuiltIn(
            name=PROGRAMS,
            types=frozenset({PROGRAMS}),
            functions=_program_functions,
            item_type="program",
            id_prefix="prog_",
            working="",
            opening=_program_opening,
        ),
        BuiltIn(
            name=FILE_SEARCH,
            types=frozenset({"file_search"}),
            functions=file_search_functions,
            item_type="file_search_call",
            id_prefix="fs_",
            working="searching",
            opening=_file_search_opening,
            on_request={"file_search_call.results": ("results",)},
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
    """A built-in tool that a request offers and this server runs, with its settings in the request."""

    row: BuiltIn
    settings: JsonObject

    def functions(self) -> Sequence[FunctionTool]:
        """Return the functions that stand for the tool."""
        return self.row.functions(self.settings)


def offered_built_ins(request: CreateResponse, run_here: Collection[int]) -> list[OfferedBuiltIn]:
    """Return the built-in tools that this server runs, each once: the first of several tools counts.

    Args:
        request: The request.
        run_here: The indexes of these tools in the request's `tools`, as the routing decided.
    """
    found: dict[str, OfferedBuiltIn] = {}
    for index, tool in enumerate(request.tools or []):
        if index in run_here and isinstance(tool, ProviderTool) and (row := built_in_of(tool.type)) is not None:
            settings = tool.model_dump(mode="json", exclude_unset=True)
            found.setdefault(row.name, OfferedBuiltIn(row, settings))
    return list(found.values())


def opened_item(
    row: BuiltIn, item_id: str, opening: Opening, *, ordinal: int, arguments: str | None, members: JsonObject
) -> JsonObject:
    """Return the item of a call that begins. `arguments` are None while they are streamed as the item's own text."""
    call: JsonObject = {"function": opening.function, "ordinal": ordinal}
    if arguments is not None:
        call["arguments"] = arguments
    if members:
        call["members"] = members
    if opening.functions:
        call["functions"] = list(opening.functions)
    return {"type": row.item_type, "id": item_id, "status": "in_progress", **row.opening(opening), CALL: call}


def approved_item(
    row: BuiltIn, response_id: str, index: int, opening: Opening, *, approval_id: str, arguments: str
) -> JsonObject:
    """Return the item of a call that a person has decided about, with its arguments.

    The workflow does not know how many calls the context has, so the number follows from the approval.
    """
    ordinal = _FIRST_APPROVED + zlib.crc32(approval_id.encode()) % _APPROVED
    item = opened_item(
        row, member_id(row.id_prefix, response_id, index), opening, ordinal=ordinal, arguments=arguments, members={}
    )
    if row.streamed is not None:
        item = {**item, row.streamed: str(opening.arguments.get(row.streamed, ""))}
    return {**item, "approval_request_id": approval_id}


def ended_item(
    item: JsonObject,
    row: BuiltIn,
    *,
    output: ToolOutput,
    members: JsonObject,
    citations: Sequence[JsonObject],
    failed: bool,
    include: Collection[str],
) -> JsonObject:
    """Return the item of a call that has ended, without the members that `include` does not name."""
    shown = {**members}
    for value, path in row.on_request.items():
        if value not in include:
            shown = _without(shown, path)
    call = {**item[CALL], "output": output, **({"citations": list(citations)} if citations else {})}
    own = {"type": item["type"], "id": item["id"], "status": "failed" if failed else "completed", CALL: call}
    return {**item, **shown, **own}


def _without(members: JsonObject, path: tuple[str, ...]) -> JsonObject:
    """The members without the one at the path. A member of the item itself becomes null, as in OpenAI's items."""
    first, *rest = path
    if not rest:
        return {**members, first: None}
    inner = members.get(first)
    if not isinstance(inner, dict):
        return members
    return {**members, first: {name: value for name, value in inner.items() if name != rest[0]}}


def read_arguments(written: str) -> JsonObject:
    """Return the arguments that a model wrote, or none if they are no JSON object."""
    try:
        read = json.loads(written)
    except (ValueError, RecursionError):
        return {}
    return read if isinstance(read, dict) else {}
