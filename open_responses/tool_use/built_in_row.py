"""A row of the table of built-in tools (`open_responses/tool_use/built_in.py`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from open_responses.config_tables.built_in import BuiltInToolConfig
from open_responses.json_types import JsonObject
from open_responses.schema.tools import FunctionTool


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


def _all_open(_: BuiltInToolConfig) -> Collection[str]:
    return ()


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
        on_request: The values of `include` that name members of the item. The item has them on request alone.
        closed: The functions that the model is not offered under the configuration's table.
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
    on_request: Collection[str] = ()
    closed: Callable[[BuiltInToolConfig], Collection[str]] = _all_open
