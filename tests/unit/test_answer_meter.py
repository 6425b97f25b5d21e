"""What one model turn may bring, counted."""

from __future__ import annotations

import pytest

from activities.sampling.answer_meter import AnswerBounds, AnswerMeter, beginning, size_of
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
from open_responses.errors import ProviderAnswerRefused

BOUNDS = AnswerBounds(turn_bytes=4000, response_bytes=6000, turn_deltas=50, turn_calls=3, empty_deltas=10)


@pytest.mark.parametrize(
    "delta",
    [
        TextDelta("é" * 300),
        TextDelta("x", logprobs=[{"token": "x" * 600}]),
        RefusalDelta("x" * 600),
        ReasoningDelta("x" * 600),
        ReasoningSummaryDelta("x" * 600),
        ReasoningSeal("x" * 600),
        ProviderItem({"type": "web_search_call", "result": "x" * 600}),
        TextAnnotation({"type": "url_citation", "url": "x" * 600}),
        ToolCallDelta(0, "x" * 600, "call_1", "f"),
    ],
)
def test_every_kind_of_content_counts(delta: Delta) -> None:
    meter = AnswerMeter(BOUNDS)
    assert size_of(delta) >= 600
    assert [meter.count(delta) for _ in range(7)][-1] == "max_output_bytes"
    assert meter.size <= BOUNDS.turn_bytes


def test_the_response_has_a_bound_over_its_turns() -> None:
    meter = AnswerMeter(BOUNDS, before=5000)
    assert meter.left == 1000
    assert meter.count(TextDelta("x" * 999)) is None
    assert meter.count(TextDelta("xx")) == "max_output_bytes"
    assert meter.count(TextDelta("x")) is None, "what was not taken does not count"


def test_calls_and_deltas_are_counted_and_pieces_of_a_call_are_one_call() -> None:
    meter = AnswerMeter(BOUNDS)
    assert [meter.count(ToolCallDelta(i % 3, "{")) for i in range(20)] == [None] * 20
    assert meter.count(ToolCallDelta(3, "{")) == "max_output_calls"
    meter.forget_calls()
    assert meter.count(ToolCallDelta(7, "{")) is None
    assert [meter.count(TextDelta("x")) for _ in range(40)][-1] == "max_output_deltas"


def test_deltas_that_say_nothing_are_borne_for_a_while() -> None:
    meter = AnswerMeter(BOUNDS)
    for _ in range(2):
        for _ in range(10):
            assert meter.count(TextDelta("")) is None
        assert meter.count(TextDelta("x")) is None
    assert [meter.count(TextDelta("")) for _ in range(10)] == [None] * 10
    with pytest.raises(ProviderAnswerRefused):
        meter.count(TextDelta(""))


def test_items_without_content_cost_something() -> None:
    meter = AnswerMeter(AnswerBounds(turn_bytes=4000))
    found = [meter.count(delta) for _ in range(20) for delta in (TextDelta("x"), ItemEnd())]
    assert "max_output_bytes" in found


def test_a_text_is_cut_between_characters() -> None:
    assert beginning("aé", 2) == "a"
    assert beginning("aé", 3) == "aé"
    assert beginning("a", 0) == ""
