"""The marks with which a model cites sources become annotations, however its text is cut into deltas."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_responses.deltas import Finish, TextAnnotation, TextDelta, ToolCallDelta
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.events.trace import Trace, replay_trace
from open_responses.schema.built_in_items import CALL
from open_responses.schema.requests import validate_create_response
from open_responses.tool_use.built_in import offered_built_ins
from open_responses.tool_use.built_in_calls import EarlierCalls, earlier_calls
from open_responses.tool_use.tool_table import ToolTable, build_tool_table

RESPONSE = "resp_" + "a" * 48
PAGE = {"type": "url_citation", "url": 'https://www.example.com/a b?q="x"(1)', "title": "A"}
FILE = {"type": "file_citation", "file_id": "file-1", "filename": "a.pdf"}
TABLE = ToolTable(earlier=EarlierCalls(1, {}, {"1:1": PAGE, "1:2": FILE}))
LINK = "([example.com](https://www.example.com/a%20b?q=%22x%22%281%29))"
TEXT = "One 【1:1】, two 【1:2】 and 【1:2†a.pdf】; 【7:7】 is none, nor is 【 alone【1:1】. Last 【1:"


def streamed(pieces: list[str], table: ToolTable = TABLE) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    assembler = Assembler(Fold(), table, RESPONSE)
    events = [event for piece in pieces for event in assembler.feed(TextDelta(piece))]
    events += assembler.feed(Finish("stop"))
    events += assembler.close("completed")
    (message,) = assembler.fold.output
    return message["content"][0], events


@given(st.lists(st.integers(min_value=0, max_value=len(TEXT)), max_size=20))
def test_however_the_text_is_cut_the_annotations_are_the_same(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(TEXT)]
    part, events = streamed([TEXT[i:j] for i, j in pairwise(at)])
    assert part["text"] == f"One {LINK}, two  and ; 【7:7】 is none, nor is 【 alone{LINK}. Last 【1:"
    page, *files, _ = part["annotations"]
    assert part["text"][page["start_index"] : page["end_index"]] == LINK
    assert page["url"] == PAGE["url"]
    assert [file["index"] for file in files] == [part["text"].index("two  ") + 4, part["text"].index("; 【7")]
    assert all(file.items() >= FILE.items() for file in files)
    trace = Trace()
    for event in events:
        trace.record(event)
    (message,) = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    again = [{k: v for k, v in e.items() if k != "sequence_number"} for e in replay_trace(trace.ops, [message], {})]
    assert again == events


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_the_providers_own_annotations_move_with_the_text(size: int) -> None:
    text = "One 【1:1】, two 【1:2】 and three."
    assembler = Assembler(Fold(), TABLE, RESPONSE)
    for at in range(0, len(text), size):
        assembler.feed(TextDelta(text[at : at + size]))
    words = ("One", "two", "three")
    for word in words:
        start = text.index(word)
        theirs = {"type": "url_citation", "url": "u", "title": word, "start_index": start}
        assembler.feed(TextAnnotation({**theirs, "end_index": start + len(word)}))
    assembler.feed(Finish("stop"))
    assembler.close("completed")
    part = assembler.fold.output[0]["content"][0]
    own = [cited for cited in part["annotations"] if cited.get("title") in words]
    assert [part["text"][cited["start_index"] : cited["end_index"]] for cited in own] == list(words)


def test_without_sources_a_mark_is_text_and_nothing_waits() -> None:
    part, events = streamed(["a 【1:1"], ToolTable())
    assert part["text"] == "a 【1:1"
    assert [event["delta"] for event in events if event["type"] == "response.output_text.delta"] == ["a 【1:1"]


def test_a_text_in_which_a_mark_never_ends_does_not_wait_for_ever() -> None:
    assembler = Assembler(Fold(), TABLE, RESPONSE)
    text = "".join(
        event["delta"]
        for piece in ("【", *["word "] * 100)
        for event in assembler.feed(TextDelta(piece))
        if event["type"] == "response.output_text.delta"
    )
    assert len(text) > 300


def test_text_with_log_probabilities_stays_as_the_model_wrote_it() -> None:
    assembler = Assembler(Fold(), TABLE, RESPONSE)
    assembler.feed(TextDelta("a 【"))
    probabilities = [{"token": "1", "logprob": 0.0, "bytes": [], "top_logprobs": []}]
    assembler.feed(TextDelta("1:1】", probabilities))
    assembler.close("completed")
    assert assembler.fold.output[0]["content"][0]["text"] == "a 【1:1】"


def test_the_calls_of_a_context_are_numbered_on() -> None:
    asked = validate_create_response({"model": "m", "input": "x", "tools": [{"type": "web_search"}]})
    offered = offered_built_ins(asked, [0])
    table = build_tool_table(
        asked, [], {}, {}, choice_spent=False, omitted=[0], built_in=offered, earlier=EarlierCalls(4)
    )
    assembler = Assembler(Fold(), table, RESPONSE)
    for index, query in enumerate(("a", "b")):
        assembler.feed(ToolCallDelta(index, json.dumps({"query": query}), f"c{index}", "web_search"))
    assembler.feed(Finish("tool_calls"))
    assembler.close("completed")
    items = assembler.fold.output
    assert [item[CALL]["ordinal"] for item in items] == [5, 6]
    items[1] = {**items[1], CALL: {**items[1][CALL], "citations": [PAGE]}}
    found = earlier_calls([], items)
    assert (found.count, found.sources) == (6, {"6:1": PAGE})
    assert found.newest["web_search_call"]["action"] == {"type": "search", "query": "b"}


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_call_stays_open_until_it_has_run_or_is_given_up(status: str) -> None:
    asked = validate_create_response({"model": "m", "input": "x", "tools": [{"type": "web_search"}]})
    offered = offered_built_ins(asked, [0])
    table = build_tool_table(asked, [], {}, {}, choice_spent=False, omitted=[0], built_in=offered)
    assembler = Assembler(Fold(), table, RESPONSE)
    assembler.feed(ToolCallDelta(0, "{}", "c", "web_search"))
    assembler.feed(Finish("tool_calls"))
    assembler.close("completed")
    assert [item["status"] for item in assembler.fold.output] == ["in_progress"]
    if status == "incomplete":
        assembler.abandon()
        assert [item["status"] for item in assembler.fold.output] == ["incomplete"]
