"""A compact record of a stream's events, small enough for Temporal.

Redis holds the event log and may lose it, but a client that reconnects with `starting_after=N` must get the same
events. Temporal has the texts already, as items. A trace adds the order of the events and the length of each delta,
about one byte per token. `replay_trace` rebuilds every event from both, byte for byte.

    ["r", type]              response.created, .queued, .in_progress, with the response at that time
    ["+", i]  ["-", i]       output item i added, done
    ["p", i, k]  ["P", i, k] content part k of item i added, done
    ["s", i, -k] ["S", i, -k] the same for a summary part, which counts -1, -2, …
    ["d", i, k, [n, …]]      deltas of part k, n characters each
    ["D", i, k]              its text is done
    ["x", event]             anything else, whole
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from open_responses.events.event_types import CALL_TEXTS, DELTA_EVENTS, EVENT_TYPES, EventType
from open_responses.events.fold import CALL_TEXT, OpenItem, OpenPart, empty_part, part_closing_events, skeleton
from open_responses.json_types import JsonObject

Op: TypeAlias = list[Any]


class Trace:
    """Records the published events. Their order gives the sequence numbers."""

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.length = 0
        # The items that were added and are not done, each with its place among `ops`.
        self._added: dict[int, tuple[int, JsonObject]] = {}

    def record(self, event: JsonObject) -> None:
        """Record one published event."""
        self.length += 1
        row = EVENT_TYPES.get(event["type"])
        if row is not None and row.trace == "d" and not event.get("logprobs"):
            # Nearly all events, and each costs time.
            self._delta(event, row)
        elif row is None or row.trace == "x" or _must_stay_whole(event, row):
            self.ops.append(["x", {k: v for k, v in event.items() if k != "sequence_number"}])
        elif row.trace == "r":
            self.ops.append(["r", row.name])
        else:
            if row.trace == "+":
                self._added[event["output_index"]] = len(self.ops), event["item"]
            elif row.trace == "-":
                self._keep_its_start(event["output_index"], event["item"])
            self.ops.append([row.trace, event["output_index"], _part_number(event, row)])

    def _keep_its_start(self, index: int, done: JsonObject) -> None:
        """Record the event that added an item whole, if the finished item does not show how it began."""
        place, added = self._added.pop(index, (None, None))
        if place is not None and added != skeleton(done) and self.ops[place][:2] == ["+", index]:
            self.ops[place] = ["x", {"type": "response.output_item.added", "output_index": index, "item": added}]

    def _delta(self, event: JsonObject, row: EventType) -> None:
        index = event["output_index"]
        part = event["content_index"] if row.part_index == "content_index" else _part_number(event, row)
        last = self.ops[-1] if self.ops else None
        if last is not None and last[0] == "d" and last[1] == index and last[2] == part:
            last[3].append(len(event["delta"]))
        else:
            self.ops.append(["d", index, part, [len(event["delta"])]])


def count_events(ops: Iterable[Op]) -> int:
    """Return the number of events in a trace."""
    return sum(len(op[3]) if op[0] == "d" else 1 for op in ops)


def _must_stay_whole(event: JsonObject, row: EventType) -> bool:
    """Return whether `replay_trace` could not rebuild the event from its mark.

    It cannot rebuild a delta with log probabilities, or an item that starts with more than its skeleton.
    """
    if row.trace == "d":
        return bool(event.get("logprobs"))
    return row.trace == "+" and bool(event["item"] != skeleton(event["item"]))


def _part_number(event: JsonObject, row: EventType) -> int:
    """The number of the event's part within its item. Summary parts count downwards from -1."""
    if row.part_index is None:
        return 0
    number: int = event[row.part_index]
    return -1 - number if row.part_index == "summary_index" else number


def replay_trace(
    ops: Iterable[Op], output: list[JsonObject], initial: JsonObject, *, first_sequence: int = 0
) -> Iterator[JsonObject]:
    """Yield the recorded events with their sequence numbers.

    Args:
        ops: The trace.
        output: The present items. An item that is not finished has the text of its deltas so far.
        initial: The response at its start.
        first_sequence: The sequence number of the first event.
    """
    positions: dict[tuple[int, int], int] = {}
    sequence = first_sequence
    for op in ops:
        for event in _events_of(op, output, initial, positions):
            yield {"type": event.pop("type"), "sequence_number": sequence, **event}
            sequence += 1


def _events_of(
    op: Op, output: list[JsonObject], initial: JsonObject, positions: dict[tuple[int, int], int]
) -> Iterator[JsonObject]:
    mark = op[0]
    if mark == "x":
        _advance(op[1], positions)
        yield dict(op[1])
    elif mark == "r":
        status = "queued" if op[1] == "response.queued" else initial["status"]
        status = "in_progress" if op[1] == "response.in_progress" else status
        yield {"type": op[1], "response": {**initial, "status": status}}
    elif mark == "+":
        yield {"type": "response.output_item.added", "output_index": op[1], "item": skeleton(output[op[1]])}
    elif mark == "-":
        yield {"type": "response.output_item.done", "output_index": op[1], "item": output[op[1]]}
    elif mark == "d":
        yield from _deltas(op, output[op[1]], positions)
    else:
        yield _part_event(op, output[op[1]])


def _advance(event: JsonObject, positions: dict[tuple[int, int], int]) -> None:
    """Advance the position in a text by a delta that was recorded whole."""
    row = EVENT_TYPES.get(event["type"])
    if row is not None and row.trace == "d":
        part = event["output_index"], _part_number(event, row)
        positions[part] = positions.get(part, 0) + len(event["delta"])


def _part_at(item: JsonObject, number: int) -> OpenPart:
    """Return the part of an operation, with its whole text."""
    if item["type"] in CALL_TEXTS:
        return OpenPart(CALL_TEXT, 0, [item[CALL_TEXTS[item["type"]]]])
    index = -1 - number if number < 0 else number
    part = item["summary" if number < 0 else "content"][index]
    text = part["refusal"] if part["type"] == "refusal" else part["text"]
    return OpenPart(part["type"], index, [text], part.get("logprobs") or [], part.get("annotations") or [])


def _part_event(op: Op, item: JsonObject) -> JsonObject:
    mark, output_index, number = op
    part = _part_at(item, number)
    if mark in "ps":
        key = "summary_index" if mark == "s" else "content_index"
        kind = "response.reasoning_summary_part.added" if mark == "s" else "response.content_part.added"
        at = {"item_id": item["id"], "output_index": output_index, key: part.index}
        return {"type": kind, **at, "part": empty_part(part.kind)}
    text_done, *part_done = part_closing_events(OpenItem(output_index, item, part), part)
    return text_done if mark == "D" else part_done[0]


def _deltas(op: Op, item: JsonObject, positions: dict[tuple[int, int], int]) -> Iterator[JsonObject]:
    _, output_index, number, lengths = op
    part = _part_at(item, number)
    at: JsonObject = {"item_id": item["id"], "output_index": output_index}
    kind = DELTA_EVENTS[item["type"] if part.kind == CALL_TEXT else part.kind]
    part_index = EVENT_TYPES[kind].part_index
    if part_index is not None:
        at[part_index] = part.index
    key = (output_index, number)
    start, text = positions.get(key, 0), part.text
    for length in lengths:
        event = {"type": kind, **at, "delta": text[start : start + length]}
        if part.kind == "output_text":
            event["logprobs"] = []
        start += length
        yield event
    positions[key] = start
