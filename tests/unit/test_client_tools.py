"""Tools that the client runs: custom tools, namespaces, shells and patches, for providers that have functions alone."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_responses.context.call_pairing import check_calls_are_answered
from open_responses.context.configuration import configured
from open_responses.context.transcript import as_model_reads
from open_responses.deltas import ToolCallDelta
from open_responses.errors import InvalidRequest
from open_responses.events.assembler import Assembler
from open_responses.json_types import JsonObject
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.text_settings import JsonSchemaFormat
from open_responses.tool_use.client_calls import as_function_calls
from open_responses.tool_use.client_functions import shown_name
from open_responses.tool_use.custom_input import CustomInput
from open_responses.tool_use.tool_table import ToolTable
from tests.support.client_tool_calls import CRM, PATCH, assembled, functions, read, refused
from tests.support.offered_tools import tool_table
from tests.support.request_bodies import parse_create_response

LARK = {"type": "grammar", "syntax": "lark", "definition": 'start: "a" word\nword: /[a-z]+/\n'}


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
