"""The output ledger: the workflow's record of its response's output, and of how the output was cut into events.

The events of samples are in the log already. The workflow records its own events here (a tool call that began or ended,
the list of an MCP server's tools), and the next `publish` appends them. So one module decides the order of the stream,
and the order follows from history alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from open_responses.events.event_types import CALL_TEXTS, DELTA_EVENTS, TEXT_DONE_EVENTS
from open_responses.events.fold import skeleton
from open_responses.events.lifecycle import opening_events
from open_responses.events.trace import Op, Trace, count_events
from open_responses.json_types import JsonObject

PROGRESS = "open_responses:tool_progress"


@dataclass(frozen=True, slots=True)
class Unpublished:
    """Consecutive events from `first_sequence` on, and the items after them, by output index.

    `first_op` is the length of the trace before them.
    """

    first_sequence: int
    first_op: int
    events: list[JsonObject]
    items: dict[int, JsonObject]


class OutputLedger:
    """The output so far. `length` is the sequence number of the next event."""

    def __init__(self, output: Sequence[JsonObject] = (), trace: Sequence[Op] = ()) -> None:
        self.output: list[JsonObject] = list(output)
        self._trace = Trace()
        self._trace.ops = list(trace)
        self._trace.length = count_events(trace)
        self._events: list[JsonObject] = []
        self._touched: set[int] = set()

    @property
    def trace(self) -> list[Op]:
        """How the output was cut into events."""
        return self._trace.ops

    @property
    def length(self) -> int:
        """The number of events."""
        return self._trace.length

    def absorb(self, items: Sequence[JsonObject], trace: Sequence[Op]) -> None:
        """Add the items and the trace of a finished sample."""
        self.output.extend(items)
        self._trace.ops.extend(trace)
        self._trace.length += count_events(trace)

    def open_stream(self, initial: JsonObject) -> None:
        """Add the stream's opening events, where something precedes the first sample."""
        for event in opening_events(initial):
            self.note(event)

    def note(self, event: JsonObject) -> None:
        """Add one event, without its sequence number."""
        self._trace.record(event)
        self._events.append(event)

    def add(self, item: JsonObject) -> int:
        """Begin an item. Returns its output index."""
        index = len(self.output)
        self.output.append(item)
        self._touched.add(index)
        self.note({"type": "response.output_item.added", "output_index": index, "item": skeleton(item)})
        return index

    def add_event(self, kind: str, index: int, **members: object) -> None:
        """Add an event about an item."""
        self.note({"type": kind, "item_id": self.output[index]["id"], "output_index": index, **members})

    def settle(self, index: int, **members: object) -> None:
        """End an item, with its final members."""
        self.output[index] = {**self.output[index], **members}
        self._touched.add(index)
        self.note({"type": "response.output_item.done", "output_index": index, "item": self.output[index]})

    def settle_call(
        self, index: int, *, output: str | None, error: JsonObject | None, parts: Sequence[JsonObject] = ()
    ) -> None:
        """End an `mcp_call`. `parts` are the output's parts, if it has more than text."""
        self.add_event("response.mcp_call.failed" if error else "response.mcp_call.completed", index)
        shown = {"output_parts": list(parts)} if parts else {}
        self.settle(index, output=output, error=error, status="failed" if error else "completed", **shown)

    def add_built_in_call(self, item: JsonObject) -> int:
        """Begin an approved call of a built-in tool, whose arguments are known. Returns its output index."""
        kind, index = item["type"], len(self.output)
        member = CALL_TEXTS.get(kind)
        begun = item if member is None else {**item, member: ""}
        self.output.append(item)
        self._touched.add(index)
        self.note({"type": "response.output_item.added", "output_index": index, "item": begun})
        self.add_event(f"response.{kind}.in_progress", index)
        if member is not None:
            if item[member]:
                self.add_event(DELTA_EVENTS[kind], index, delta=item[member])
            self.add_event(TEXT_DONE_EVENTS[kind], index, **{member: item[member]})
        return index

    def add_whole_call(self, item: JsonObject) -> int:
        """Begin an approved call, whose arguments are known. Returns its output index."""
        index = self.add(item)
        kind = item["type"]
        if kind == "mcp_call":
            self.add_event("response.mcp_call.in_progress", index)
        if item["arguments"]:
            self.add_event(f"response.{kind}_arguments.delta", index, delta=item["arguments"])
        self.add_event(f"response.{kind}_arguments.done", index, arguments=item["arguments"])
        return index

    def close_open_items(self) -> None:
        """End the items that are still open when the response ends (ITEM-2)."""
        for index, item in enumerate(self.output):
            if item.get("status") == "in_progress":
                if item["type"] == "mcp_call":
                    self.add_event("response.mcp_call.failed", index)
                self.settle(index, status="incomplete")

    def drop_progress(self, taken: Unpublished, there: Sequence[JsonObject]) -> bool:
        """Remove progress events that a repeated workflow task put in front of events from its first run.

        `there` are the log's events from `taken.first_sequence` on. The SDK applies a task's signals first, even those
        that arrived after the results of the first run.

        Returns False if other events differ as well, or if there is nothing to remove.
        """
        mine, kept, at = [*taken.events, *self._events], list[JsonObject](), 0
        for event in mine:
            if at < len(there) and event != there[at]:
                if event["type"] != PROGRESS:
                    return False
                continue
            kept.append(event)
            at += 1
        if len(kept) == len(mine):
            return False
        del self._trace.ops[taken.first_op :]
        self._trace.length = taken.first_sequence
        for event in kept:
            self._trace.record(event)
        self._events = kept
        self._touched |= taken.items.keys()
        return True

    def take(self) -> Unpublished | None:
        """The events that the log lacks; None for none. They must be published before another writer begins."""
        if not self._events:
            return None
        first = self.length - len(self._events)
        first_op = len(self._trace.ops) - len(self._events)
        taken = Unpublished(
            first, first_op, self._events, {index: self.output[index] for index in sorted(self._touched)}
        )
        self._events, self._touched = [], set()
        return taken
