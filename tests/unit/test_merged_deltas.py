"""Deltas that wait for Redis are merged, at a cost in proportion to their length."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from open_responses.events.fold import Fold
from open_responses.io.log.appender import Appender
from open_responses.io.log.merged_delta import LONGEST_MERGED
from open_responses.io.log.writer import Writer
from open_responses.json_types import JsonObject

INITIAL: JsonObject = {"id": "resp_1", "status": "in_progress", "output": []}


class Counted(str):
    """A text that counts the characters that are copied when something is put behind it."""

    copied = 0

    def __add__(self, other: str) -> Counted:
        Counted.copied += len(self) + len(other)
        return Counted(str(self) + other)


class NoRedis:
    """Nothing is sent in these tests."""


def writer() -> Writer:
    """A writer whose append is under way, and stays so."""
    made = Writer(Appender(NoRedis(), ttl_seconds=60), "resp_1", fence=1, initial=INITIAL, fold=Fold([]))  # type: ignore[arg-type]
    made.in_flight = True
    return made


def delta(text: str, **other: Any) -> JsonObject:
    return {
        "type": "response.output_text.delta",
        "item_id": "msg_1",
        "output_index": 0,
        "content_index": 0,
        "delta": text,
        "logprobs": [],
        **other,
    }


async def test_deltas_that_wait_are_copied_once() -> None:
    pieces = [Counted("ab") for _ in range(20_000)]
    Counted.copied = 0
    waiting = writer()
    for piece in pieces:
        waiting.write([delta(piece)])
    (event,) = waiting.take().events
    assert b"ab" * len(pieces) in event
    assert Counted.copied <= 4 * sum(map(len, pieces))


async def test_a_merged_delta_is_bounded_and_nothing_is_lost() -> None:
    text = "".join(chr(ord("a") + i % 26) for i in range(3 * LONGEST_MERGED))
    waiting = writer()
    for start in range(0, len(text), 1000):
        waiting.write([delta(text[start : start + 1000])])
    deltas = [event["delta"] for event in taken(waiting)]
    assert "".join(deltas) == text
    assert max(map(len, deltas)) <= LONGEST_MERGED + 1000


async def test_what_comes_between_ends_a_merged_delta() -> None:
    waiting = writer()
    waiting.write([delta("a"), delta("b"), delta("c", item_id="msg_2"), delta("d", item_id="msg_2"), delta("e")])
    waiting.write([delta("f"), delta("g", logprobs=[{"token": "g"}]), delta("h")])
    assert [event["delta"] for event in taken(waiting)] == ["ab", "cd", "ef", "g", "h"]


@pytest.mark.parametrize("ending", ["settle", "take"])
async def test_what_was_taken_is_not_changed_by_what_follows(ending: str) -> None:
    waiting = writer()
    waiting.write([delta("a"), delta("b")])
    getattr(waiting, ending)()
    waiting.write([delta("c"), delta("d")])
    waiting.settle()
    assert waiting.trace.length == 2


def taken(waiting: Writer) -> list[JsonObject]:
    found: list[JsonObject] = []
    while waiting.pending:
        found += map(orjson.loads, waiting.take().events)
    return found
