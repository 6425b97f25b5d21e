"""Tools, choices and arguments of the client that a request may not have, or that need a rule of their own."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import orjson
import pytest
from pydantic_core import PydanticCustomError

from open_responses.context.call_pairing import check_added_calls, orphaned_outputs
from open_responses.deltas import ToolCallDelta
from open_responses.json_types import JsonObject
from open_responses.schema.grammars import check_grammar
from open_responses.schema.tool_choice import FunctionChoice
from open_responses.tool_use.tool_table import ToolTable
from tests.support.client_tool_calls import CRM, PATCH, assembled, functions, read, refused
from tests.support.offered_tools import tool_table
from tests.support.request_bodies import parse_create_response


@pytest.mark.parametrize(
    ("syntax", "definition"),
    [
        ("regex", "("),
        ("regex", ""),
        ("regex", "[a"),
        ("regex", "*a"),
        ("regex", "a\\"),
        ("lark", ""),
        ("lark", "no rule"),
        ("lark", "a: b"),
        ("lark", "start: ( a"),
    ],
)
def test_a_grammar_that_is_none_is_refused_by_its_place(syntax: str, definition: str) -> None:
    tool = {"type": "custom", "name": "t", "format": {"type": "grammar", "syntax": syntax, "definition": definition}}
    assert refused(tools=[tool]) == ("tools[0].format.definition", "invalid_value")


@pytest.mark.parametrize(
    ("syntax", "definition"),
    [
        ("regex", r"\p{L}+(?:x|y)??"),
        ("regex", r"[a-z&&[^x]]"),
        ("regex", r"(?<year>\d{4})[^]]"),
        ("lark", 'start: "(" word // a ( in a comment\nword: /[(\\/]+/\n%import common.LF\n'),
        ("lark", "?start.2: a | b\na: /x/i\nb: a~1..3\n"),
    ],
)
def test_a_grammar_of_openais_dialect_is_taken(syntax: str, definition: str) -> None:
    tool = {"type": "custom", "name": "t", "format": {"type": "grammar", "syntax": syntax, "definition": definition}}
    assert parse_create_response(json.dumps({"model": "m", "input": "x", "tools": [tool]}).encode()).tools


@pytest.mark.parametrize(
    "text", ["(?i:[\0-\U0010ffff])" * 3000, "/\\" * 30_000, "/[" * 30_000, "start: " + "(" * 60_000]
)
@pytest.mark.parametrize("syntax", ["regex", "lark"])
def test_a_grammar_is_checked_in_linear_time(syntax: Any, text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(PydanticCustomError):
        check_grammar(syntax, text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([CRM, CRM], "tools[1].name"),
        ([{**CRM, "tools": [PATCH, PATCH]}], "tools[0].tools[1].name"),
        ([PATCH, {"type": "function", "name": "patch"}], "tools[1].name"),
        ([{**CRM, "tools": []}], "tools[0].tools"),
        ([{**CRM, "tools": [{"type": "function", "name": "n" * 65}]}], "tools[0].tools[0].name"),
        ([{"type": "tool_search"}], "tools[0].type"),
    ],
)
def test_tools_that_cannot_be_offered_are_refused_by_their_place(tools: list[JsonObject], param: str) -> None:
    assert refused(tools=tools) == (param, "invalid_value")


def test_a_choice_names_a_tool_of_its_own_kind() -> None:
    assert refused(tools=[PATCH], tool_choice={"type": "function", "name": "patch"})[0] == "tool_choice.name"
    assert refused(tools=[PATCH], tool_choice={"type": "shell"})[0] == "tool_choice.type"


@pytest.mark.parametrize("tool", [{"type": "mcp", "server_label": "x"}, {"type": "open_responses:hosted_tools"}])
def test_tools_that_the_server_runs_stand_in_the_request(tool: JsonObject) -> None:
    items = [{"type": "additional_tools", "role": "developer", "tools": [tool]}]
    assert refused(input=items)[0] == "input[0].tools[0].type"


@pytest.mark.parametrize(
    ("tool", "written", "text"),
    [
        ({"type": "tool_search", "execution": "client"}, '{"query": "a\\ud83d"}', '{"query":"a\ufffd"}'),
        ({"type": "tool_search", "execution": "client"}, f'{{"n": {10**30}}}', '{"n":1e'),
        ({"type": "tool_search", "execution": "client"}, '{"n": [1e999, NaN, -Infinity]}', '{"n":[null,null,null]}'),
        ({"type": "shell"}, '{"commands": ["\\udc00"]}', "\ufffd"),
        ({"type": "local_shell"}, '{"command": ["ls"], "env": {"\\ud83d": "1"}}', "\ufffd"),
        ({"type": "apply_patch"}, '{"type": "delete_file", "path": "\\ud83d"}', "\ufffd"),
        (PATCH, '{"text": "a\\ud83d"}', "a\ufffd"),
        (PATCH, '{"text": {"b": "\\ud83d"}}', "\ufffd"),
    ],
)
def test_what_a_models_arguments_hold_can_be_written(tool: JsonObject, written: str, text: str) -> None:
    table = tool_table([tool])
    (function,) = functions(table)
    (item,) = assembled(table, ToolCallDelta(index=0, call_id="c1", name=function.name, arguments=written))
    assert text in orjson.dumps(item).decode()


def test_arguments_that_are_too_deep_to_be_written_are_refused() -> None:
    table = tool_table([{"type": "tool_search", "execution": "client"}])
    deep = '{"a": NaN, "b": ' + "[" * 300 + "]" * 300 + "}"
    (item,) = assembled(table, ToolCallDelta(index=0, call_id="c1", name="tool_search", arguments=deep))
    assert item["type"] == "open_responses:refused_call"
    assert "64 levels" in item["reason"]


def test_tools_of_three_kinds_with_one_name_have_three_functions() -> None:
    items = [
        {"type": "additional_tools", "role": "developer", "tools": [{"type": kind, "name": "shell"}]}
        for kind in ("function", "custom")
    ]
    table = tool_table([{"type": "shell"}], input=[*items, {"role": "user", "content": "x"}])
    assert len({tool.name for tool in functions(table)}) == 3
    assert sorted(table.routes[tool.name].form for tool in functions(table)) == ["custom", "function", "shell"]


def test_a_long_description_of_a_namespace_is_not_copied_to_each_tool() -> None:
    tools = [{"type": "function", "name": f"f{number}"} for number in range(500)]
    table = tool_table([{"type": "namespace", "name": "n", "description": "x" * 100_000, "tools": tools}])
    assert sum(len(tool.description or "") for tool in functions(table)) < 200_000


def test_calls_that_their_provider_has_run_are_left_out_for_another() -> None:
    ran: list[JsonObject] = [
        {"type": "shell_call", "id": "sh_1", "action": {"commands": ["ls"]}, "status": "completed"},
        {"type": "shell_call_output", "id": "so_1", "output": []},
        {"type": "local_shell_call", "id": "ls_1", "action": {"command": ["ls"]}},
        {"type": "apply_patch_call", "id": "ap_1", "operation": {"type": "delete_file", "path": "x"}},
    ]
    assert read(*ran) == []


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_conversation_keeps_each_output_of_a_custom_call(status: str) -> None:
    call = {"type": "custom_tool_call", "id": "i1", "call_id": "c1", "name": "patch", "input": "x", "status": status}
    outputs = [
        {"type": "custom_tool_call_output", "id": f"i{number}", "call_id": "c1", "output": "y"} for number in (2, 3)
    ]
    assert orphaned_outputs([call, *outputs]) == set()
    assert orphaned_outputs(outputs) == {"i2", "i3"}
    check_added_calls([], [call, *outputs])
    check_added_calls([call], outputs)


def test_a_call_whose_namespace_no_request_could_have_is_refused() -> None:
    """Its item would be one that the next response of the chain cannot read."""
    table = tool_table([PATCH])
    plain = ToolTable(is_native=True)
    assert plain.route("find", "crm").kind == "client"
    for made in (table, plain):
        assert made.route("find", "a b").kind == "refused"
        assert made.route("a b", None).kind == "refused"


def test_a_choice_names_a_namespace_that_has_the_tool() -> None:
    bare = {"type": "function", "name": "find"}
    choice = {"type": "function", "name": "find", "namespace": "crm"}
    table = tool_table([bare, CRM], choice)
    assert table.choice == FunctionChoice(type="function", name="crm__find")
    for wrong in ({**choice, "namespace": "other"}, {"type": "custom", "name": "find", "namespace": "crm"}):
        assert refused(tools=[bare, PATCH, CRM], tool_choice=wrong)[0] == "tool_choice.namespace"


def test_a_function_of_an_item_under_the_name_of_a_hosted_tool_is_offered_once() -> None:
    mine = {"type": "function", "name": "search", "description": "Mine."}
    items = [{"type": "additional_tools", "role": "developer", "tools": [mine]}, {"role": "user", "content": "x"}]
    table = tool_table([{"type": "open_responses:hosted_tools"}], input=items)
    assert [tool.name for tool in table.functions].count("search") == 1
    assert table.routes["search"].kind == "hosted"
