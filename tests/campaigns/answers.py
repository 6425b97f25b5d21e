"""One response as its client saw it, and the verdict on it.

Each prompt has an answer of its own words, `{tag}.{draw}.{index}`; the fake model draws anew whenever it begins anew.
So a lost word, a repeated one, and two halves of different draws that were put together can each be recognised.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.support.fake_upstream import Script
from tests.support.stack import Event

TERMINAL = ("response.completed", "response.incomplete", "response.failed")
_WORD = re.compile(r"(?P<tag>[^.\s]+)\.(?P<draw>\d+)\.(?P<index>\d+)")
# Shorter pauses between two events are not kept: the model itself pauses.
_SILENCE_SECONDS = 1.0
# Temporal misses an activity's heartbeat after 60 s: what takes so long was not found by its lease.
LONGEST_SILENCE_SECONDS = 45.0


class Verdict(StrEnum):
    """What became of a response. The first two keep what the product promises.

    A response that an operator ended in Temporal is whole if its stream and its resource say so, in the same way.
    """

    WHOLE = "whole"
    TOLD = "told"
    """The stream ended with `stream_lost`; read again from its beginning, it was whole."""
    LOST = "lost"
    DOUBLED = "doubled"
    WRONG = "wrong"
    HUNG = "hung"


KEPT = (Verdict.WHOLE, Verdict.TOLD)


class Misfit(Exception):
    """An answer that breaks the promise: the verdict, and what was seen."""

    def __init__(self, verdict: Verdict, detail: str) -> None:
        super().__init__(f"{verdict}: {detail}")
        self.verdict = verdict
        self.detail = detail


@contextlib.contextmanager
def first_failure() -> Iterator[None]:
    """Around a group of tasks: raises the first of their errors itself, where the group would wrap it."""
    try:
        yield
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


@dataclass
class Answer:
    """What was asked, what came, and when. Times are of `time.monotonic`."""

    kind: str
    prompt: str
    tag: str
    script: Script
    """The one that says the text: the last turn's."""
    body: dict[str, Any]
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    id: str | None = None
    events: list[Event] = field(default_factory=list)
    response: dict[str, Any] | None = None
    connections: int = 0
    told: int = 0
    operated: str | None = None
    """`terminate` or `cancel`, where an operator ended its workflow in Temporal."""
    silences: list[tuple[float, float]] = field(default_factory=list)
    verdict: Verdict | None = None
    detail: str = ""
    check: Callable[[dict[str, Any]], None] | None = None
    """Raises Misfit unless the completed response says what it must, where that is more than the script's words."""
    more_tags: list[str] = field(default_factory=list)
    """Of the words that answer what the response was told while it ran."""
    waits_for: str = ""
    """What its session waits for, where that is not the end of its stream."""
    heard: float = field(default_factory=time.monotonic)

    @property
    def is_stored(self) -> bool:
        return self.body.get("store", True) is not False

    @property
    def is_over(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] in TERMINAL

    @property
    def was_ended_by_operator(self) -> bool:
        return self.operated is not None and self.response is not None and self.response["status"] != "completed"

    def start_clock(self) -> None:
        """It is asked now, where it was planned earlier."""
        self.began = self.heard = time.monotonic()

    def hear(self, event: Event) -> None:
        self.note_silence()
        self.events.append(event)
        if event["type"] == "response.created":
            self.id = event["response"]["id"]

    def note_silence(self) -> None:
        """Keep the time since the last event, if it was long."""
        now = time.monotonic()
        if now - self.heard > _SILENCE_SECONDS:
            self.silences.append((self.heard, now))
        self.heard = now

    def begin_again(self) -> None:
        """What came is void: the client was told so, or the response was cancelled with its connection."""
        self.events = []
        if not self.is_stored:
            self.id = None

    def settle(self, verdict: Verdict, detail: str = "") -> None:
        """The first verdict that breaks the promise stays."""
        if self.verdict is None or self.verdict in KEPT:
            self.verdict, self.detail = verdict, detail


def check_stream(answer: Answer) -> dict[str, Any]:
    """The final response of a whole stream: no gap, no repeat, one terminal event that agrees with the deltas.

    Raises Misfit.
    """
    events = answer.events
    longest = max((end - begin for begin, end in answer.silences), default=0.0)
    if longest > LONGEST_SILENCE_SECONDS:
        raise Misfit(Verdict.HUNG, f"no event for {longest:.0f} s")
    numbers = [event["sequence_number"] for event in events]
    if numbers != list(range(len(numbers))):
        odd = next(i for i, number in enumerate(numbers) if number != i)
        seen = f"after event {odd - 1} came {numbers[odd]} ({events[odd]['type']})"
        raise Misfit(Verdict.DOUBLED if numbers[odd] < odd else Verdict.LOST, seen)
    ends = [event for event in events if event["type"] in TERMINAL]
    if not ends:
        raise Misfit(Verdict.HUNG, "no terminal event")
    if len(ends) > 1:
        raise Misfit(Verdict.DOUBLED, f"{len(ends)} terminal events")
    if events[-1] is not ends[0]:
        raise Misfit(Verdict.WRONG, f"{events[-1]['type']} behind the terminal event")
    response: dict[str, Any] = ends[0]["response"]
    _check_items(events, response)
    if answer.operated is not None and response["status"] != "completed":
        _check_end_by_operator(answer, response)
        return response
    if response["status"] != "completed":
        raise Misfit(Verdict.WRONG, f"{response['status']}: {response['error'] or response['incomplete_details']}")
    if answer.check is None:
        check_text(answer, response)
    else:
        answer.check(response)
    return response


def check_text(answer: Answer, response: dict[str, Any]) -> None:
    """The response's text is one draw of the script's words. Raises Misfit."""
    check_words(_text_of(response), answer.tag, answer.script.words)


def _check_items(events: list[Event], response: dict[str, Any]) -> None:
    """Items as they were announced, one by one, are the response's output; and deltas add up to their texts."""
    done = [event for event in events if event["type"] == "response.output_item.done"]
    most = Counter(event["output_index"] for event in done).most_common(1)
    if most and most[0][1] > 1:
        raise Misfit(Verdict.DOUBLED, f"item {most[0][0]} is done twice")
    if [event["item"] for event in sorted(done, key=lambda event: event["output_index"])] != response["output"]:
        raise Misfit(Verdict.WRONG, "the terminal event's output is not what the stream's items were")
    streamed: Counter[str] = Counter()
    texts: dict[str, list[str]] = {}
    for event in events:
        if event["type"] == "response.output_text.delta":
            texts.setdefault(event["item_id"], []).append(event["delta"])
            streamed[event["item_id"]] += 1
    for item in response["output"]:
        if item["type"] == "message" and "".join(texts.get(item["id"], [])) != text_in(item):
            raise Misfit(Verdict.WRONG, f"the deltas of {item['id']} do not add up to its text: a splice")


def _check_end_by_operator(answer: Answer, response: dict[str, Any]) -> None:
    if response["status"] not in ("failed", "cancelled"):
        raise Misfit(Verdict.WRONG, f"{answer.operated} in Temporal ended it as {response['status']}")
    if response["status"] == "failed" and not response["error"]:
        raise Misfit(Verdict.WRONG, f"{answer.operated} in Temporal left a failure without an error")
    for item in response["output"]:
        if item["type"] == "message":
            text = text_in(item)
            tag = next((tag for tag in answer.more_tags if text.startswith(f"{tag}.")), answer.tag)
            check_words(text, tag, None)


def check_words(text: str, tag: str, count: int | None) -> None:
    """The text is one draw of the answer, all `count` words of it, or its beginning where that is None.

    Raises Misfit.
    """
    found = [_WORD.fullmatch(word) for word in text.split()]
    if not all(match and match["tag"] == tag for match in found):
        raise Misfit(Verdict.WRONG, f"words of another answer: {text[:200]!r}")
    draws = {match["draw"] for match in found if match}
    if len(draws) > 1:
        raise Misfit(Verdict.WRONG, f"a splice of {len(draws)} draws: {text[:200]!r}")
    indexes = [int(match["index"]) for match in found if match]
    if len(set(indexes)) < len(indexes):
        raise Misfit(Verdict.DOUBLED, f"repeated words: {text[:200]!r}")
    expected = list(range(len(indexes) if count is None else count))
    if indexes != expected:
        missing = sorted(set(expected) - set(indexes))
        raise Misfit(Verdict.LOST if missing else Verdict.WRONG, f"words are missing: {missing[:20]}")


def _text_of(response: dict[str, Any]) -> str:
    """Of messages that were finished: a half one that had to be given up stays in the output, marked."""
    return "".join(
        text_in(item) for item in response["output"] if item["type"] == "message" and item["status"] == "completed"
    )


def text_in(item: dict[str, Any]) -> str:
    return "".join(part["text"] for part in item["content"] if part["type"] == "output_text")
