"""An answer that a provider gives out again after a crash: nothing twice, nothing lost, however it is cut."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from open_responses.deltas import Delta, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.events.resumed_assembler import ResumedAssembler
from open_responses.json_types import JsonObject
from open_responses.tool_use.tool_table import ToolTable
from tests.support.delta_strategies import DELTAS


def recut(deltas: list[Delta]) -> list[Delta]:
    """The same answer, each text one character at a time."""
    cut: list[Delta] = []
    for delta in deltas:
        match delta:
            case TextDelta() if delta.text:
                cut += [TextDelta(character, phase=delta.phase) for character in delta.text]
            case RefusalDelta() if delta.text:
                cut += [RefusalDelta(character) for character in delta.text]
            case ReasoningDelta() if delta.text:
                cut += [ReasoningDelta(character) for character in delta.text]
            case ToolCallDelta() if delta.arguments:
                cut += [ToolCallDelta(delta.index, c, delta.call_id, delta.name) for c in delta.arguments]
            case _:
                cut.append(delta)
    return cut


def merged(events: list[JsonObject]) -> list[JsonObject]:
    """Neighbouring deltas of one part joined: what a client makes of them."""
    joined: list[JsonObject] = []
    for event in events:
        last = joined[-1] if joined else None
        if last is not None and "delta" in event and {**last, "delta": ""} == {**event, "delta": ""}:
            joined[-1] = {**last, "delta": last["delta"] + event["delta"]}
        else:
            joined.append(event)
    return joined


@settings(max_examples=200, deadline=None)
@given(DELTAS, st.integers(0, 60))
def test_what_is_read_again_continues_the_log_exactly(deltas: list[Delta], events_logged: int) -> None:
    first = Assembler(Fold(), response_id="resp_1")
    whole = [event for delta in deltas for event in first.feed(delta)] + first.close("completed")
    log = json.loads(json.dumps(whole[:events_logged]))
    fold = Fold()
    for event in log:
        fold.apply(event)
    reading = ResumedAssembler(fold, ToolTable(), "resp_1", before=[], logged=log)
    fresh = [event for delta in recut(deltas) for event in reading.feed(delta)] + reading.close("completed")
    assert merged([*log, *fresh]) == merged(json.loads(json.dumps(whole)))
    assert fold.output == first.fold.output
    assert not fold.open
