"""The client's tools that are no plain functions, as a provider with functions alone reads and calls them."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from open_responses.context.call_pairing import check_added_calls, check_calls_are_answered, orphaned_outputs
from open_responses.context.configuration import configured
from open_responses.context.transcript import as_model_reads
from open_responses.deltas import ToolCallDelta
from open_responses.errors import InvalidRequest
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.events.trace import Trace, replay_trace
from open_responses.json_types import JsonObject
from open_responses.schema.grammars import check_grammar
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.text_settings import JsonSchemaFormat
from open_responses.schema.tool_choice import FunctionChoice
from open_responses.schema.tools import FunctionTool
from open_responses.tool_use.client_calls import as_function_calls
from open_responses.tool_use.client_functions import shown_name
from open_responses.tool_use.custom_input import CustomInput
from open_responses.tool_use.tool_table import ToolTable
from tests.support.offered_tools import tool_table
from tests.support.request_bodies import parse_create_response

PATCH = {"type": "custom", "name": "patch", "description": "Edits files."}
LARK = {"type": "grammar", "syntax": "lark", "definition": 'start: "a" word\nword: /[a-z]+/\n'}
CRM: JsonObject = {
    "type": "namespace",
    "name": "crm",
    "description": "Customers.",
    "tools": [
        {"type": "function", "name": "find", "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "note"},
    ],
}


def assembled(table: ToolTable, *deltas: ToolCallDelta, status: Any = "completed") -> list[JsonObject]:
    """The output of a model turn, which the trace rebuilds to the byte."""
    assembler = Assembler(None, table, "resp_1")
    events = [*(event for delta in deltas for event in assembler.feed(delta)), *assembler.close(status)]
    trace, fold = Trace(), Fold()
    for event in events:
        trace.record(event)
        fold.apply(event)
    numbered = [{"type": event["type"], "sequence_number": n, **event} for n, event in enumerate(events)]
    assert json.dumps(list(replay_trace(trace.ops, fold.output, {}))) == json.dumps(numbered)
    assert fold.output == assembler.fold.output
    return fold.output


def functions(table: ToolTable) -> list[FunctionTool]:
    """The functions in the table that are not of this server."""
    return [tool for tool in table.functions if table.routes[tool.name].kind == "client"]


def read(*items: JsonObject, table: ToolTable | None = None) -> list[JsonObject]:
    """The items as a provider with functions alone reads them."""
    told = as_function_calls(INPUT_ITEMS.validate_python(list(items)), (table or ToolTable()).shown_name)
    return [item.model_dump(mode="json", exclude_unset=True) for item in told]


# --- the input of a custom tool


@given(st.text(), st.booleans(), st.lists(st.integers(0, 400), max_size=8))
def test_the_text_of_a_custom_call_is_the_same_however_it_is_cut(text: str, is_ascii: bool, cuts: list[int]) -> None:
    written = json.dumps({"input": text}, ensure_ascii=is_ascii)
    reader, said, begin = CustomInput(), "", 0
    for end in [*sorted(cuts), len(written)]:
        said += reader.feed(written[begin:end])
        begin = max(begin, end)
    assert said + reader.rest() == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"patch": "x"}', "x"),
        ('{"a": 1, "input": "z"}', "z"),
        ('"alone"', "alone"),
        ('{"input": ["a"]}', '["a"]'),
        ('{"input": "a\\qb', "a\\qb"),
        ('{"input": "line\nline"}', "line\nline"),
        ('{"input": "\\ud83d"}', "\ufffd"),
        ("{}", ""),
        ("", ""),
    ],
)
def test_arguments_that_are_not_as_asked_for_still_give_a_text(written: str, text: str) -> None:
    for size in (1, 3, len(written) or 1):
        reader = CustomInput()
        said = "".join(reader.feed(written[i : i + size]) for i in range(0, len(written), size))
        assert said + reader.rest() == text


def test_a_long_text_is_read_in_linear_time() -> None:
    for written in ("{" + " " * 300_000, "x" * 300_000, '{"input": "' + "x" * 300_000, '{"other": "' + "x" * 300_000):
        reader, began = CustomInput(), time.process_time()
        said = "".join(map(reader.feed, written)) + reader.rest()
        assert len(said) >= 300_000
        # A second for what takes a fifth of one; with a copy for each piece it is a minute.
        assert time.process_time() - began < 5


def test_a_custom_call_is_streamed_as_text() -> None:
    assembler = Assembler(None, tool_table([PATCH]), "resp_1")
    events = assembler.feed(ToolCallDelta(0, '{"input": "a\\', "call_1", "patch"))
    events += assembler.feed(ToolCallDelta(0, 'nb"'))
    deltas = [event["delta"] for event in events if event["type"] == "response.custom_tool_call_input.delta"]
    assert deltas == ["a", "\nb"]
    (item,) = assembled(tool_table([PATCH]), ToolCallDelta(0, '{"input": "a\\nb"}', "call_1", "patch"))
    assert (item["type"], item["input"], item["call_id"], item["status"]) == (
        "custom_tool_call",
        "a\nb",
        "call_1",
        "completed",
    )


def test_a_custom_call_of_a_provider_that_has_such_tools_is_not_decoded() -> None:
    delta = ToolCallDelta(
        0, '{"input": "a"}', "call_1", "patch", is_custom=True, members={"caller": {"type": "direct"}}
    )
    (item,) = assembled(tool_table([PATCH]), delta)
    assert (item["input"], item["caller"]) == ('{"input": "a"}', {"type": "direct"})


# --- as functions


def test_a_grammar_is_told_in_words() -> None:
    (function,) = functions(tool_table([{**PATCH, "format": LARK}]))
    assert function.parameters is not None
    assert function.parameters["required"] == ["input"]
    assert function.description is not None
    assert function.description.startswith("Edits files.")
    assert LARK["definition"] in function.description


def test_the_tools_of_a_namespace_get_names_of_their_own_and_their_calls_the_namespace() -> None:
    table = tool_table([CRM, {"type": "function", "name": "find"}])
    assert [tool.name for tool in functions(table)] == ["crm__find", "crm__note", "find"]
    calls = [("crm__find", "{}"), ("find", "{}"), ("crm__note", '{"input": "x"}'), ("crm.note", '{"input": "y"}')]
    output = assembled(table, *(ToolCallDelta(n, args, f"c{n}", name) for n, (name, args) in enumerate(calls)))
    shown = [(item["type"], item.get("namespace"), item["name"]) for item in output]
    assert shown == [
        ("function_call", "crm", "find"),
        ("function_call", None, "find"),
        ("custom_tool_call", "crm", "note"),
        ("custom_tool_call", "crm", "note"),
    ]


def test_flattened_names_never_collide_and_fit_every_vendor() -> None:
    long, digit = "n" * 64, "1st"
    spaces: list[JsonObject] = [
        {"type": "namespace", "name": name, "tools": [{"type": "function", "name": tool} for tool in tools]}
        for name, tools in (("a", ["b__c", "x"]), ("a__b", ["c"]), (long, ["t" * 64, "t" * 63]), (digit, ["x"]))
    ]
    table = tool_table([*spaces, {"type": "function", "name": "a__x"}, {"type": "mcp", "server_label": "calc"}])
    names = [tool.name for tool in table.functions]
    assert len(set(names)) == len(names) == 11
    assert all(len(name) <= 64 and (name[0].isalpha() or name[0] == "_") for name in names)
    for shown, route in table.routes.items():
        if route.kind == "client":
            assert table.shown_name(route.form, route.namespace, route.tool) == shown


def test_a_replayed_call_names_the_function_that_the_model_knows() -> None:
    table = tool_table([CRM])
    items = read(
        {"type": "custom_tool_call", "call_id": "c1", "name": "note", "namespace": "crm", "input": 'a "b"'},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
        {"type": "function_call", "call_id": "c2", "name": "gone", "namespace": "old", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
        table=table,
    )
    assert [item.get("name") for item in items] == ["crm__note", None, shown_name("old", "gone"), None]
    assert json.loads(items[0]["arguments"]) == {"input": 'a "b"'}
    assert {item["type"] for item in items} == {"function_call", "function_call_output"}


def test_what_a_custom_tool_reports_while_it_runs_is_one_output() -> None:
    items = read(
        {"type": "custom_tool_call", "call_id": "c1", "name": "exec", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "working"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "done"}]},
    )
    assert [part["text"] for part in items[1]["output"]] == ["working\n", "done"]
    assert len(items) == 2


def test_tools_of_the_input_are_offered_as_those_of_the_request() -> None:
    table = tool_table(
        [],
        input=[
            {
                "type": "additional_tools",
                "role": "developer",
                "tools": [CRM, {"type": "tool_search", "execution": "client"}],
            },
            {"type": "tool_search_call", "call_id": "s1", "arguments": {"query": "x"}, "execution": "client"},
            {"type": "tool_search_output", "call_id": "s1", "tools": [{"type": "function", "name": "found"}]},
        ],
    )
    assert [tool.name for tool in functions(table)] == ["crm__find", "crm__note", "tool_search", "found"]
    (item,) = assembled(table, ToolCallDelta(0, '{"query": "y"}', "c1", "tool_search"))
    assert (item["type"], item["arguments"], item["execution"]) == ("tool_search_call", {"query": "y"}, "client")


def test_deferred_tools_are_loaded_at_once_and_the_providers_search_is_left_out() -> None:
    deferred = {"type": "function", "name": "rare", "defer_loading": True, "allowed_callers": ["direct"]}
    programs = {"type": "function", "name": "by_program", "allowed_callers": ["programmatic"]}
    (function,) = functions(tool_table([deferred, programs, {"type": "tool_search"}]))
    assert function.model_dump(exclude_unset=True).keys() == {"type", "name", "description", "parameters"}


# --- shells and patches


def test_calls_of_shells_and_patches_are_openais_items() -> None:
    table = tool_table([{"type": "shell"}, {"type": "local_shell"}, {"type": "apply_patch"}])
    output = assembled(
        table,
        ToolCallDelta(0, '{"commands": ["ls", "pwd"], "timeout_ms": 5}', "c1", "shell"),
        ToolCallDelta(1, '{"command": ["ls"]}', "c2", "local_shell"),
        ToolCallDelta(2, '{"type": "create_file", "path": "a", "diff": "+x"}', "c3", "apply_patch"),
        ToolCallDelta(3, '{"type": "delete_file", "path": "a", "diff": ""}', "c4", "apply_patch"),
    )
    assert [item["type"] for item in output] == [
        "shell_call",
        "local_shell_call",
        "apply_patch_call",
        "apply_patch_call",
    ]
    assert output[0]["action"] == {"commands": ["ls", "pwd"], "timeout_ms": 5, "max_output_length": None}
    assert output[1]["action"]["command"] == ["ls"]
    assert output[2]["operation"] == {"type": "create_file", "path": "a", "diff": "+x"}
    assert output[3]["operation"] == {"type": "delete_file", "path": "a"}
    told = read(*output, table=table)
    assert [json.loads(item["arguments"]) for item in told][1:] == [
        {"command": ["ls"], "env": {}},
        {"type": "create_file", "path": "a", "diff": "+x"},
        {"type": "delete_file", "path": "a"},
    ]


@pytest.mark.parametrize("arguments", ['{"commands": 1}', "{", "[]"])
def test_a_call_that_is_none_is_refused_and_the_model_reads_why(arguments: str) -> None:
    (item,) = assembled(tool_table([{"type": "shell"}]), ToolCallDelta(0, arguments, "c1", "shell"))
    assert item["type"] == "open_responses:refused_call"
    assert "Call the tool again" in item["reason"]


def test_the_results_of_shells_and_patches_are_outputs_of_functions() -> None:
    outcome = {"type": "exit", "exit_code": 0}
    items = read(
        {"type": "shell_call_output", "call_id": "c1", "output": [{"stdout": "a", "stderr": "", "outcome": outcome}]},
        {"type": "local_shell_call_output", "id": "c2", "output": "b"},
        {"type": "apply_patch_call_output", "call_id": "c3", "status": "failed", "output": "no such file"},
    )
    assert [item["call_id"] for item in items] == ["c1", "c2", "c3"]
    texts = [item["output"][0]["text"] for item in items]
    assert json.loads(texts[0]) == [{"stdout": "a", "stderr": "", "outcome": outcome}]
    assert texts[1:] == ["b", "failed: no such file"]


# --- calls that were cut off


CUT_OFF: list[JsonObject] = [
    {"type": "custom_tool_call", "call_id": "c1", "name": "exec", "input": "ha", "status": "incomplete"},
    {"type": "function_call", "call_id": "c2", "name": "f", "arguments": '{"a', "status": "incomplete"},
]
ITS_OUTPUTS: list[JsonObject] = [
    {"type": "custom_tool_call_output", "call_id": "c1", "output": "1"},
    {"type": "function_call_output", "call_id": "c2", "output": "2"},
]
WHOLE: list[JsonObject] = [
    {"type": "custom_tool_call", "call_id": "c3", "name": "exec", "input": "half", "status": "completed"},
    {"type": "custom_tool_call_output", "call_id": "c3", "output": "3"},
]


@pytest.mark.parametrize(
    ("answered", "read_ids"), [(True, ["c1", "c2", "c1", "c2", "c3", "c3"]), (False, ["c3", "c3"])]
)
def test_a_call_that_was_cut_off_needs_no_output_and_may_have_one(answered: bool, read_ids: list[str]) -> None:
    """Codex runs a call whatever its status, and sends the output."""
    given = INPUT_ITEMS.validate_python([*CUT_OFF, *(ITS_OUTPUTS if answered else []), *WHOLE])
    check_calls_are_answered(given, ())
    told = as_model_reads(as_function_calls(given, ToolTable().shown_name), lambda _, tool: tool)
    assert [item.model_dump()["call_id"] for item in told] == read_ids


def test_the_output_of_a_call_that_a_chain_has_without_it_is_left_out() -> None:
    given = INPUT_ITEMS.validate_python([*ITS_OUTPUTS, *WHOLE[1:]])
    check_calls_are_answered(given, [*CUT_OFF, WHOLE[0]])
    told = as_model_reads(INPUT_ITEMS.validate_python([WHOLE[0], *ITS_OUTPUTS, WHOLE[1]]), lambda _, tool: tool)
    assert [item.model_dump()["call_id"] for item in told] == ["c3", "c3"]


def test_an_output_has_the_type_of_its_call() -> None:
    given = INPUT_ITEMS.validate_python([WHOLE[0], {"type": "function_call_output", "call_id": "c3", "output": "x"}])
    with pytest.raises(InvalidRequest) as caught:
        check_calls_are_answered(given, ())
    assert (caught.value.param, caught.value.error_code) == ("input[1].type", "unknown_tool_call")
    assert "custom_tool_call_output" in caught.value.message


# --- choices


@pytest.mark.parametrize(
    ("choice", "forced"),
    [
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "custom", "name": "note"}, "crm__note"),
        ({"type": "function", "name": "find"}, "crm__find"),
        ({"type": "shell"}, "shell"),
    ],
)
def test_a_choice_of_a_clients_tool_forces_the_function_that_stands_for_it(choice: JsonObject, forced: str) -> None:
    table = tool_table([PATCH, CRM, {"type": "shell"}], choice)
    assert table.choice is not None
    assert not isinstance(table.choice, str)
    assert table.choice.model_dump(exclude_none=True) == {"type": "function", "name": forced}
    assert table.allowed == {forced}


def test_allowed_tools_may_name_custom_tools() -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "note"}]}
    table = tool_table([PATCH, CRM], choice)
    assert (table.route("crm__note").kind, table.route("patch").kind) == ("client", "refused")


# --- updates of the configuration


def test_the_newest_update_of_the_configuration_stands() -> None:
    schema = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    items: list[JsonObject] = [
        {"type": "configuration_update", "reasoning": {"effort": "high"}},
        {"type": "configuration_update", "reasoning": {"effort": "low"}, "text": {"format": schema}},
        {"role": "user", "content": "x"},
    ]
    body = {"model": "m", "input": items, "reasoning": {"effort": "none", "summary": "auto"}}
    asked = configured(parse_create_response(json.dumps(body).encode()), INPUT_ITEMS.validate_python(items))
    assert asked.reasoning is not None
    assert (asked.reasoning.effort, asked.reasoning.summary) == ("low", "auto")
    assert asked.text is not None
    assert isinstance(asked.text.format, JsonSchemaFormat)
    assert len(read(*items)) == 1


def test_an_update_that_is_none_is_refused_by_its_place() -> None:
    items = [{"type": "configuration_update", "text": {"format": {"type": "yaml"}}}, {"role": "user", "content": "x"}]
    assert refused(input=items) == ("input[0].text", "invalid_value")


# --- what a request may not have


def refused(**body: Any) -> tuple[str | None, str | None]:
    with pytest.raises(InvalidRequest) as caught:
        parse_create_response(json.dumps({"model": "m", "input": "x", **body}).encode())
    return caught.value.param, caught.value.error_code


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
