"""What follows from a turn, and which conversations can be continued at all."""

from __future__ import annotations

from functools import reduce

import pytest

from open_responses.context.call_pairing import check_calls_are_answered
from open_responses.context.transcript import NOT_RUN
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.loop.next_step import Stop, next_step
from open_responses.loop.payloads.sample import SampleResult
from open_responses.schema.items import INPUT_ITEMS

HOSTED = frozenset({"search"})
MESSAGE: JsonObject = {"type": "message", "role": "assistant", "content": [], "status": "completed"}


def call(name: str, arguments: str = "{}", **members: object) -> JsonObject:
    members = {"status": "completed", **members}
    return {
        "type": "function_call",
        "id": "fc",
        "call_id": f"c-{name}",
        "name": name,
        "arguments": arguments,
        **members,
    }


def mcp(arguments: str = "{}") -> JsonObject:
    return {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "t", "arguments": arguments}


CALLED: JsonObject = {"server_label": "s", "name": "t", "arguments": "{}"}
APPROVAL: JsonObject = {"type": "mcp_approval_request", "id": "mcpr_1", **CALLED}
REFUSED: JsonObject = {"type": "open_responses:refused_call", "id": "ref_1", "call_id": "c", "name": "x"}


@pytest.mark.parametrize(
    ("items", "reason", "stop", "calls"),
    [
        ([MESSAGE], "stop", Stop("completed"), []),
        ([], "stop", Stop("completed"), []),
        ([MESSAGE], "length", Stop("incomplete", "max_output_tokens"), []),
        ([call("search")], "length", Stop("incomplete", "max_output_tokens"), ["search"]),
        ([mcp(), call("mine")], "content_filter", Stop("incomplete", "content_filter"), ["t"]),
        ([MESSAGE], "content_filter", Stop("incomplete", "content_filter"), []),
        ([call("search")], "tool_calls", None, ["search"]),
        ([call("search")], "stop", None, ["search"]),
        ([call("mine")], "tool_calls", Stop("completed"), []),
        ([call("mine"), call("search")], "tool_calls", Stop("completed"), ["search"]),
        ([call("search"), mcp()], "tool_calls", None, ["search", "t"]),
        ([REFUSED], "tool_calls", None, []),
        ([APPROVAL], "tool_calls", Stop("completed"), []),
        ([APPROVAL, call("search")], "tool_calls", Stop("completed"), ["search"]),
        ([call("search", status="incomplete"), MESSAGE], "stop", Stop("completed"), []),
    ],
)
def test_what_follows_from_a_turn(items: list[JsonObject], reason: str, stop: Stop | None, calls: list[str]) -> None:
    result = SampleResult(outcome="done", items=items, finish_reason=reason)
    step = next_step(result, 10, HOSTED, waits_for_approval=False)
    assert step.stop == stop
    assert [wanted.name for wanted in step.calls] == calls


def test_a_background_response_waits_for_approvals() -> None:
    result = SampleResult(outcome="done", items=[MESSAGE, APPROVAL], finish_reason="tool_calls")
    step = next_step(result, 10, HOSTED, waits_for_approval=True)
    assert (step.stop, step.approvals) == (None, [11])


def test_whole_calls_of_a_turn_that_broke_off_are_not_run_and_say_so() -> None:
    result = SampleResult(outcome="done", items=[call("search"), call("mine")], finish_reason="length")
    step = next_step(result, 0, HOSTED, waits_for_approval=False)
    (unrun,) = step.calls
    assert unrun.problem == NOT_RUN
    assert step.unanswered == []


@pytest.mark.parametrize("cut_off", [call("search", '{"q', status="incomplete"), {**MESSAGE, "status": "incomplete"}])
def test_no_output_stands_behind_what_was_cut_off(cut_off: JsonObject) -> None:
    """An `mcp_call` ends where it stands."""
    result = SampleResult(outcome="done", items=[call("search"), mcp(), cut_off], finish_reason="length")
    step = next_step(result, 0, HOSTED, waits_for_approval=False)
    assert [(wanted.name, wanted.problem) for wanted in step.calls] == [("t", NOT_RUN)]
    assert [wanted.name for wanted in step.unanswered] == ["search"]


@pytest.mark.parametrize(
    ("written", "read", "problem"),
    [
        ("", {}, None),
        ("  ", {}, None),
        ('{"a": 1}', {"a": 1}, None),
        ("{not", {}, "not valid JSON"),
        ("[1]", {}, "must be a JSON object"),
        ("null", {}, "must be a JSON object"),
        ("[" * 100_000, {}, "not valid JSON"),
        ('{"a": NaN}', {}, "not valid JSON"),
        ('{"a": 1e999}', {}, "not finite"),
        ('{"a": "\\ud83d"}', {}, "surrogate"),
        ('{"\\ud83d": 1}', {}, "surrogate"),
        ('{"a":' * 64 + "1" + "}" * 64, reduce(lambda inner, _: {"a": inner}, range(64), 1), None),
        ('{"a":' * 65 + "1" + "}" * 65, {}, "nested more than 64 levels"),
    ],
)
def test_arguments_that_are_no_object_are_not_run(written: str, read: JsonObject, problem: str | None) -> None:
    result = SampleResult(outcome="done", items=[call("search", written)])
    (wanted,) = next_step(result, 0, HOSTED, waits_for_approval=False).calls
    assert wanted.arguments == read
    assert (wanted.problem is None) if problem is None else (problem in str(wanted.problem))


def output(call_id: str) -> JsonObject:
    return {"type": "function_call_output", "call_id": call_id, "output": "x"}


@pytest.mark.parametrize(
    ("given", "previous", "code"),
    [
        ([output("c-a")], [call("a")], None),
        ([call("a"), output("c-a")], [], None),
        ([call("a"), call("b"), output("c-b"), output("c-a")], [], None),
        ([], [call("a"), output("c-a")], None),
        ([call("a", status="incomplete")], [], None),
        ([], [call("a", status="incomplete")], None),
        ([call("a"), call("b", status="incomplete")], [], None),
        ([call("a"), call("b", status="incomplete"), output("c-a")], [], None),
        ([call("a", status="incomplete"), call("b")], [], "missing_tool_output"),
        ([call("b", status="incomplete")], [call("a")], "missing_tool_output"),
        ([call("a"), output("c-a"), call("a"), output("c-a")], [], None),
        ([], [call("a")], "missing_tool_output"),
        ([output("c-a")], [call("a"), call("b")], "missing_tool_output"),
        ([call("a")], [], "missing_tool_output"),
        ([output("c-a")], [], "unknown_tool_call"),
        ([output("c-a"), call("a")], [], "unknown_tool_call"),
        ([output("c-a"), output("c-a")], [call("a")], "duplicate_tool_output"),
    ],
)
def test_each_call_has_one_output_behind_it(
    given: list[JsonObject], previous: list[JsonObject], code: str | None
) -> None:
    items = INPUT_ITEMS.validate_python(given)
    if code is None:
        check_calls_are_answered(items, previous)
        return
    with pytest.raises(InvalidRequest) as refused:
        check_calls_are_answered(items, previous)
    assert refused.value.error_code == code
