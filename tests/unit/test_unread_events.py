"""The shapes of a vendor's events that are logged: bounded, and without texts."""

from __future__ import annotations

import json
from typing import Any

from activities.providers.shared.unread_events import UnreadEvents, shape_of


def test_a_shape_has_the_words_of_the_protocol_and_no_texts() -> None:
    event = {
        "type": "new.delta",
        "choices": [{"index": 0, "delta": {"role": "assistant", "said": "a secret"}, "finish_reason": "stop"}],
        "usage": {"output_tokens": 7},
        "text": None,
    }
    assert json.loads(shape_of(event)) == {
        **event,
        "choices": [{"index": 0, "delta": {"role": "assistant", "said": "<8 characters>"}, "finish_reason": "stop"}],
    }
    assert json.loads(shape_of({"type": "x" * 100, "role": ["a secret"]})) == {
        "type": "<100 characters>",
        "role": ["<8 characters>"],
    }


def test_a_shape_is_bounded() -> None:
    deep: Any = "end"
    for _ in range(10_000):
        deep = [deep]
    for event in (deep, {str(n): "x" * 1000 for n in range(10_000)}, ["x"] * 10_000, {"k" * 10_000: 1}):
        assert len(shape_of(event)) <= 2_000


def test_the_first_events_and_the_last_are_kept() -> None:
    events = UnreadEvents()
    for number in range(100):
        events.keep({"number": number})
    assert [json.loads(shape)["number"] for shape in events.shapes()] == [0, 1, 2, 98, 99]
