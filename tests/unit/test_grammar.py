"""The grammar of a stream as a property: any deltas, cut, retried and resumed anywhere, in one turn and in a whole run.

A run has model turns (`Assembler`, `ResumedAssembler`), whose calls go through a `ToolTable`, and between them the
workflow's own events (`OutputLedger`). What holds for each: the stream is the specification's
(`tests/support/stream_judge.py`), its fold is the stored response, and the stored trace gives back every event to the
byte.
"""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import event as seen
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.sampling.attempt_progress import AttemptProgress
from activities.sampling.attempt_state import AttemptState
from activities.sampling.resume import begin
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    ItemEnd,
    ProviderItem,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.events.lifecycle import opening_events, terminal_events, whole_stream
from open_responses.events.resumed_assembler import ResumedAssembler
from open_responses.events.trace import Trace, replay_trace
from open_responses.ids import member_id
from open_responses.io.log.encoding import encode
from open_responses.io.log.fenced_log import FencedLog
from open_responses.json_types import JsonObject
from open_responses.loop.next_step import Call, Step, Stop, call_of, next_step
from open_responses.loop.output_ledger import OutputLedger
from open_responses.loop.payloads.sample import SampleResult
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.mcp_tool import HOSTED_LABEL
from open_responses.schema.requests import validate_create_response
from open_responses.schema.response import finished_response, initial_response, started_response
from open_responses.tool_use.tool_items import function_call, function_call_output, mcp_call
from open_responses.tool_use.tool_table import ToolTable
from tests.support.delta_strategies import _CITATION, _TEXT, BUILT_IN, DELTAS
from tests.support.offered_tools import CALC, MINE, OF_CALC, tool_table
from tests.support.spec import validate_event, validate_response
from tests.support.stream_judge import judge


class LostAttempts:
    """Attempts at one model turn that end without a result; the next one continues from the log.

    `begin` is the product's: here are only the parts of its attempt that a stream does not depend on.
    """

    def __init__(self) -> None:
        self.log: list[JsonObject] = []
        self.fold = Fold()
        self.assembler = Assembler(self.fold, response_id=RESPONSE_ID)

    def next_attempt(self) -> None:
        """Begin the next attempt, which has the log alone."""
        events = json.loads(json.dumps(self.log))
        self.fold = Fold()
        for event in events:
            self.fold.apply(event)
        call = SimpleNamespace(
            paid=TurnUsage(),
            first_sequence=1,
            first_output_index=0,
            fell_back=False,
            fallback=0,
            response_id=RESPONSE_ID,
        )
        state = SimpleNamespace(
            attempt=SimpleNamespace(call=call, provider=SimpleNamespace(resume_of=lambda _: "prefill")),
            progress=AttemptProgress(),
            tool_table=ToolTable(),
            writer=SimpleNamespace(write=self.write, fold=self.fold),
            # The call that would be sent is not looked at.
            sample_call=lambda **_: SampleCall("m", [], validate_create_response({"model": "m", "input": "x"})),
            max_output_tokens=None,
            write_attempt_event=lambda _: None,
        )
        self.assembler = begin(cast(AttemptState, state), FencedLog(events)).assembler

    def write(self, events: list[JsonObject]) -> None:
        self.log += events


def assemble(deltas: list[Delta], cuts: set[int]) -> list[JsonObject]:
    """The events of a turn whose sample was lost at each cut and continued from the log."""
    turn = LostAttempts()
    for index, delta in enumerate(deltas):
        if index in cuts:
            turn.next_attempt()
        turn.write(turn.assembler.feed(delta))
    turn.write(turn.assembler.close("completed"))
    return turn.log


@settings(max_examples=150, deadline=None)
@given(DELTAS, st.sets(st.integers(0, 24), max_size=3))
def test_any_stream_folds_to_its_items_and_replays_from_its_trace(deltas: list[Delta], cuts: set[int]) -> None:
    request = validate_create_response({"model": "m", "input": "x"})
    initial = initial_response(request, response_id="resp_1", created_at=1, status="in_progress")
    events = [*opening_events(initial), *assemble(deltas, cuts)]
    fold, trace = Fold(), Trace()
    for event in events:
        fold.apply(event)
        trace.record(event)
    assert not fold.open
    assert all(item["id"] and item["status"] in ("completed", "incomplete") for item in fold.output)
    text = "".join(d.text for d in deltas if isinstance(d, TextDelta))
    assert text == "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    response = finished_response(initial, status="completed", output=fold.output, completed_at=2, usage=None)
    events += terminal_events(response)
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    replayed = list(whole_stream(initial, response, json.loads(json.dumps(trace.ops))))
    assert replayed == numbered
    for event in replayed:
        validate_event(event)


# --- a whole run


RESPONSE_ID = "resp_" + "5" * 48
HOSTED = frozenset({"search", "delete"})
OF_THE_CLIENT: list[JsonObject] = [
    {"type": "custom", "name": "patch"},
    {"type": "namespace", "name": "crm", "tools": [{"type": "custom", "name": "note"}, MINE]},
    {"type": "shell"},
]
TOOL_TABLES = [
    tool_table([MINE, {"type": "open_responses:hosted_tools"}, CALC, *OF_THE_CLIENT]),
    tool_table([MINE, {"type": "open_responses:hosted_tools"}, CALC]),
    tool_table([MINE, {"type": "open_responses:hosted_tools"}, OF_CALC]),
    tool_table([MINE, {"type": "open_responses:hosted_tools"}, CALC], parallel_tool_calls=False),
    tool_table(
        [MINE, {"type": "open_responses:hosted_tools"}],
        {"type": "allowed_tools", "tools": [{"type": "function", "name": "search"}]},
    ),
    tool_table([MINE]),
]
CALLS = st.builds(
    ToolCallDelta,
    st.integers(0, 3),
    st.sampled_from(["{}", '{"a":', "1}", "", "[]", '{"input": "x\\', 'ny"', '{"commands": ["ls", "pwd"]}']),
    st.sampled_from([None, "c1", "c2", "c" * 70]),
    st.sampled_from(
        [
            *("search", "search", "add", "add", "delete", "calc_rm_-rf", "nothing", "mine", None),
            *("patch", "crm__note", "crm.mine", "shell"),
        ]
    ),
)
LOGPROBS = [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}]
RUN_DELTAS: st.SearchStrategy[list[Delta]] = st.lists(
    st.one_of(
        CALLS,
        CALLS,
        st.builds(TextDelta, st.text(min_size=1, max_size=6), st.none(), st.sampled_from([None, "commentary"])),
        st.builds(ReasoningDelta, _TEXT),
        st.builds(ReasoningSummaryDelta, _TEXT, st.integers(0, 2)),
        st.builds(ReasoningSeal, _TEXT),
        st.builds(RefusalDelta, _TEXT),
        st.builds(TextAnnotation, st.just(_CITATION)),
        st.builds(ItemEnd),
        st.builds(ProviderItem, st.just({"type": "web_search_call", "action": {"query": "x"}})),
        BUILT_IN,
    ),
    max_size=14,
)


class Run:
    """One response, as the workflow and its activities make it: the log grows, and whoever dies is followed by one who
    has the log alone."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data
        background = data.draw(st.booleans())
        request = validate_create_response({"model": "m", "input": "x", "background": background})
        status = "queued" if background else "in_progress"
        self.waits = background
        # All of a response or none of it: see the two tests at the end.
        self.has_logprobs = self.flip()
        self.initial = initial_response(request, response_id=RESPONSE_ID, created_at=1, status=status)
        self.log: list[JsonObject] = []
        self.output_ledger = OutputLedger()

    def draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self._data.draw(strategy)

    def flip(self) -> bool:
        return bool(self.draw(st.booleans()))

    def publish(self) -> None:
        taken = self.output_ledger.take()
        if taken is not None:
            assert taken.first_sequence == len(self.log)
            self.log += json.loads(json.dumps(taken.events))

    def begin(self) -> None:
        """Some runs list an MCP server's tools before their first turn, which then opens the stream."""
        if self.flip():
            self.output_ledger.open_stream(self.initial)
            index = self.output_ledger.add(
                {
                    "type": "mcp_list_tools",
                    "id": member_id("mcpl_", RESPONSE_ID, 0),
                    "server_label": "calc",
                    "tools": [],
                    "error": None,
                    "status": "in_progress",
                }
            )
            self.output_ledger.add_event("response.mcp_list_tools.in_progress", index)
            self.output_ledger.add_event("response.mcp_list_tools.completed", index)
            self.output_ledger.settle(index, tools=[{"name": "add"}], status="completed")
            self.publish()

    def turn(self) -> Step:
        """A sample, with its crashes."""
        made, deltas = self.draw(st.sampled_from(TOOL_TABLES)), self.draw(RUN_DELTAS)
        if self.has_logprobs:
            deltas = [replace(d, logprobs=LOGPROBS) if isinstance(d, TextDelta) else d for d in deltas]
        cuts = self.draw(st.lists(st.integers(0, len(deltas)), max_size=3))
        first, before = len(self.output_ledger.output), list(self.output_ledger.output)
        logged: list[JsonObject] = [] if self.output_ledger.length else opening_events(self.initial)
        assembler: Assembler = Assembler(Fold(before), made, RESPONSE_ID)
        at, is_whole = 0, True
        for cut in [*sorted(cuts), None]:
            for delta in deltas[at:cut]:
                logged += assembler.feed(delta)
            at = max(at, len(deltas) if cut is None else cut)
            if cut is None:
                break
            logged = json.loads(json.dumps(logged))
            fold = Fold(before)
            for event in logged:
                fold.apply(event)
            if is_whole and self.flip():
                assembler, at = ResumedAssembler(fold, made, RESPONSE_ID, before=before, logged=_content(logged)), 0
                seen("read again")
                continue
            is_whole = False
            assembler = Assembler(fold, made, RESPONSE_ID)
            if assembler.unfinished_text() is None:
                logged += assembler.abandon()
                at = self.draw(st.sampled_from([0, at]))
                seen("begun anew")
        reason = self.draw(st.sampled_from(["stop", "stop", "length"]))
        logged += assembler.close("completed" if reason == "stop" else "incomplete")
        fold, trace = Fold(before), Trace()
        for event in logged:
            fold.apply(event)
            trace.record(event)
        self.log += json.loads(json.dumps(logged))
        result = SampleResult(
            outcome="done",
            items=fold.output[first:],
            trace=trace.ops,
            next_sequence=len(self.log),
            finish_reason=reason,
        )
        result = SampleResult.model_validate_json(result.model_dump_json())
        self.output_ledger.absorb(result.items, result.trace)
        assert self.output_ledger.length == len(self.log)
        return next_step(result, first, HOSTED, waits_for_approval=self.waits)

    def act(self, step: Step) -> bool:
        """Run what the turn asked for, in any order. Whether all of it ended."""
        running = [(call, self.announce(call)) for call in step.calls]
        for index in step.approvals:
            if not self.flip():
                return False
            seen("approved")
            call = self.approve(self.output_ledger.output[index])
            running.append((call, self.announce(call)))
        for call, index in self.draw(st.permutations(running)):
            if self.flip():
                self.output_ledger.add_event("open_responses:tool_progress", index, message="half way")
            if self.draw(st.integers(0, 9)) == 0:
                return False
            if call.kind == "mcp":
                failed = self.flip()
                error = {"type": "mcp_tool_execution_error", "content": "no"} if failed else None
                self.output_ledger.settle_call(index, output=None if failed else "5", error=error)
            else:
                self.output_ledger.settle(index, output="done", status="completed")
            if self.flip():
                self.publish()
        return True

    def announce(self, call: Call) -> int:
        if call.kind == "mcp":
            return call.index
        seen("hosted")
        return self.output_ledger.add(function_call_output(RESPONSE_ID, len(self.output_ledger.output), call.call_id))

    def approve(self, asked: JsonObject) -> Call:
        index, name, arguments = len(self.output_ledger.output), asked["name"], asked["arguments"]
        if asked["server_label"] == HOSTED_LABEL:
            item = function_call(RESPONSE_ID, index, name, arguments)
        else:
            item = mcp_call(member_id("mcp_", RESPONSE_ID, index), asked["server_label"], name, arguments)
        item["approval_request_id"] = asked["id"]
        added = self.output_ledger.add_whole_call(item)
        if item["type"] == "mcp_call":
            return call_of("mcp", added, name, arguments, item["id"], asked["server_label"])
        self.output_ledger.settle(added)
        return call_of("hosted", added, name, arguments, item["call_id"])

    def end(self, stop: Stop | None) -> JsonObject:
        if stop is None:
            self.output_ledger.close_open_items()
        self.publish()
        status = "cancelled" if stop is None else stop.status
        reason = stop.incomplete_reason if stop is not None else None
        response = finished_response(
            self.initial,
            status=status,
            output=self.output_ledger.output,
            completed_at=2,
            usage=None,
            incomplete_reason=reason,
        )
        self.log += terminal_events(response)
        return response


def _content(events: list[JsonObject]) -> list[JsonObject]:
    return [event for event in events if "response" not in event]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_run_is_one_stream_that_folds_to_its_response_and_replays_to_the_byte(data: st.DataObject) -> None:
    run = Run(data)
    run.begin()
    stop: Stop | None = None
    for _ in range(3):
        step = run.turn()
        whole = run.act(step)
        stop = step.stop if whole else None
        run.publish()
        if not whole or step.stop is not None:
            break
    response = json.loads(json.dumps(run.end(stop)))
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(run.log)]
    assert judge(numbered)["output"] == response["output"]
    fold = Fold()
    for event in numbered:
        validate_event(event)
        fold.apply(event)
    assert fold.output == response["output"]
    assert not fold.open
    assert fold.response == response
    stored = json.loads(json.dumps(run.output_ledger.trace))
    replayed = [encode(event, event.pop("sequence_number")) for event in whole_stream(run.initial, response, stored)]
    assert replayed == [encode(event, event.pop("sequence_number")) for event in map(dict, numbered)]
    # Wherever a client comes in, what it is shown then is a response; and all of it can be sent back.
    half = Fold()
    for event in numbered[: data.draw(st.integers(2, len(numbered)))]:
        half.apply(event)
    if half.terminal is None:
        validate_response({**started_response(run.initial), "output": half.snapshot()})
    INPUT_ITEMS.validate_python([item for item in response["output"] if item["type"] != "web_search_call"])


def test_a_delta_without_logprobs_behind_one_with_them_replays_with_its_own_text() -> None:
    assembler, trace = Assembler(Fold(), response_id=RESPONSE_ID), Trace()
    logged = (
        assembler.feed(TextDelta("one ", LOGPROBS)) + assembler.feed(TextDelta("two ")) + assembler.close("completed")
    )
    for event in logged:
        trace.record(event)
    replayed = [event["delta"] for event in replay_trace(trace.ops, assembler.fold.output, {}) if "delta" in event]
    assert replayed == ["one ", "two "]


def test_a_delta_of_logprobs_alone_is_read_again() -> None:
    reading = ResumedAssembler(Fold(), TOOL_TABLES[0], RESPONSE_ID, before=[], logged=[])
    fresh = reading.feed(TextDelta("", LOGPROBS))
    assert [event["logprobs"] for event in fresh if "delta" in event] == [LOGPROBS]
