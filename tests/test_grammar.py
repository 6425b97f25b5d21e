"""The grammar of a stream as a property: any deltas, cut and resumed anywhere."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from open_responses.assembler import Assembler
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
from open_responses.fold import Fold
from open_responses.json_types import JsonObject
from open_responses.replay import opening_events, terminal_events, whole_stream
from open_responses.requests import validate_create_response
from open_responses.response import finished_response, initial_response
from open_responses.trace import Trace
from tests.spec import validate_event

_TEXT = st.text(max_size=6)
_CITATION = {"type": "url_citation", "url": "http://x", "title": "x", "start_index": 0, "end_index": 1}
DELTAS: st.SearchStrategy[list[Delta]] = st.lists(
    st.one_of(
        st.builds(TextDelta, _TEXT, st.none(), st.sampled_from([None, "commentary", "final_answer"])),
        st.builds(TextAnnotation, st.just(_CITATION)),
        st.builds(ReasoningSeal, _TEXT),
        st.builds(ItemEnd),
        st.builds(ProviderItem, st.just({"type": "web_search_call", "action": {"query": "x"}})),
        st.builds(RefusalDelta, _TEXT),
        st.builds(ReasoningDelta, _TEXT),
        st.builds(ReasoningSummaryDelta, _TEXT, st.integers(0, 2)),
        st.builds(ToolCallDelta, st.integers(0, 2), _TEXT, st.none(), st.just("f")),
    ),
    max_size=25,
)


def assemble(deltas: list[Delta], cuts: set[int]) -> list[JsonObject]:
    """The events of a turn whose sample was lost at each cut and taken over from the log."""
    log: list[JsonObject] = []
    assembler = Assembler(Fold())
    for index, delta in enumerate(deltas):
        if index in cuts:
            fold = Fold()
            for event in json.loads(json.dumps(log)):
                fold.apply(event)
            assembler = Assembler(fold)
            if assembler.unfinished_text() is None:
                log += assembler.abandon()
        log += assembler.feed(delta)
    return log + assembler.close("completed")


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
