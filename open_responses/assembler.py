"""Deltas in, events out: the one owner of the grammar of a stream.

Which event follows which, which id and index it carries, when an item opens and closes: nowhere else. An adapter cannot
get it wrong, since it never makes an event (ITEM-4 to ITEM-7). Sequence numbers are the log's.
"""

from __future__ import annotations

from typing import Literal

from open_responses.deltas import (
    Delta,
    Finish,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from open_responses.fold import Fold, OpenItem, OpenPart, empty_part, finished_part
from open_responses.ids import new_id
from open_responses.json_types import JsonObject

ItemStatus = Literal["completed", "incomplete"]

_DELTA_EVENT = {
    "output_text": "response.output_text.delta",
    "refusal": "response.refusal.delta",
    "reasoning_text": "response.reasoning.delta",
}


class Assembler:
    """Turns one turn's deltas into events, on top of the output that `fold` already holds.

    A sample that takes over from a lost one passes the fold of the log: `unfinished_text` is what it may continue, and
    `abandon` closes what it cannot.
    """

    def __init__(self, fold: Fold | None = None) -> None:
        self.fold = fold or Fold()
        self.finish: Finish | None = None
        self._calls: dict[int, int] = {}
        self._events: list[JsonObject] = []

    def feed(self, delta: Delta) -> list[JsonObject]:
        """The events that this delta causes, in order, without sequence numbers."""
        match delta:
            case TextDelta():
                self._text("message", "output_text", delta.text, delta.logprobs)
            case ToolCallDelta():
                self._tool_call(delta)
            case ReasoningDelta():
                self._text("reasoning", "reasoning_text", delta.text)
            case ReasoningSummaryDelta():
                self._summary(delta)
            case RefusalDelta():
                self._text("message", "refusal", delta.text)
            case Finish():
                self.finish = delta
        return self._take()

    def close(self, status: ItemStatus) -> list[JsonObject]:
        """End of the turn: the last open item becomes `status`, those before it are complete (ITEM-2)."""
        still_open = sorted(self.fold.open)
        for index in still_open:
            self._close_item(self.fold.open[index], status if index == still_open[-1] else "completed")
        return self._take()

    def unfinished_text(self) -> str | None:
        """The text of a broken answer that can be continued in its own item, or None.

        Only a lone open message qualifies: arguments and reasoning cannot be handed back to a provider half-finished.
        """
        if len(self.fold.open) != 1:
            return None
        (opened,) = self.fold.open.values()
        if opened.item["type"] != "message" or opened.item["content"]:
            return None
        if opened.part is None:
            return ""
        return opened.part.text if opened.part.kind == "output_text" else None

    def abandon(self) -> list[JsonObject]:
        """Close all that was left open as incomplete: a new sample starts new items, or there is none."""
        self._calls.clear()
        for index in sorted(self.fold.open):
            self._close_item(self.fold.open[index], "incomplete")
        return self._take()

    def _take(self) -> list[JsonObject]:
        events, self._events = self._events, []
        return events

    def _emit(self, event: JsonObject) -> None:
        self.fold.apply(event)
        self._events.append(event)

    def _text(self, item_type: str, kind: str, text: str, logprobs: list[JsonObject] | None = None) -> None:
        opened = self._item_of(item_type)
        part = self._part_of(opened, kind)
        if not text and not logprobs:
            return
        event: JsonObject = {
            "type": _DELTA_EVENT[kind],
            "item_id": opened.item["id"],
            "output_index": opened.index,
            "content_index": part.index,
            "delta": text,
        }
        if kind == "output_text":
            event["logprobs"] = logprobs or []
        self._emit(event)

    def _summary(self, delta: ReasoningSummaryDelta) -> None:
        opened = self._item_of("reasoning")
        if opened.part is None or opened.part.kind != "summary_text" or opened.part.index != delta.summary_index:
            self._close_part(opened)
            self._emit(
                {
                    "type": "response.reasoning_summary_part.added",
                    "item_id": opened.item["id"],
                    "output_index": opened.index,
                    "summary_index": len(opened.item["summary"]),
                    "part": empty_part("summary_text"),
                }
            )
        if delta.text and opened.part is not None:
            self._emit(
                {
                    "type": "response.reasoning_summary_text.delta",
                    "item_id": opened.item["id"],
                    "output_index": opened.index,
                    "summary_index": opened.part.index,
                    "delta": delta.text,
                }
            )

    def _tool_call(self, delta: ToolCallDelta) -> None:
        index = self._calls.get(delta.index)
        if index is None:
            self._close_all_but_calls()
            index = self._calls[delta.index] = self._add_item(
                {
                    "type": "function_call",
                    "id": new_id("fc_"),
                    "call_id": delta.call_id or new_id("call_"),
                    "name": delta.name or "",
                    "arguments": "",
                    "status": "in_progress",
                }
            ).index
        if delta.arguments:
            opened = self.fold.open[index]
            self._emit(
                {
                    "type": "response.function_call_arguments.delta",
                    "item_id": opened.item["id"],
                    "output_index": index,
                    "delta": delta.arguments,
                }
            )

    def _item_of(self, item_type: str) -> OpenItem:
        """The open item of this type, or a new one behind what is now closed."""
        for opened in self.fold.open.values():
            if opened.item["type"] == item_type:
                return opened
        self._close_all_but_calls()
        if item_type == "message":
            return self._add_item(
                {"type": "message", "id": new_id("msg_"), "status": "in_progress", "role": "assistant", "content": []}
            )
        return self._add_item(
            {"type": "reasoning", "id": new_id("rs_"), "status": "in_progress", "summary": [], "content": []}
        )

    def _add_item(self, item: JsonObject) -> OpenItem:
        index = len(self.fold.output)
        self._emit({"type": "response.output_item.added", "output_index": index, "item": item})
        return self.fold.open[index]

    def _part_of(self, opened: OpenItem, kind: str) -> OpenPart:
        if opened.part is None or opened.part.kind != kind:
            self._close_part(opened)
            self._emit(
                {
                    "type": "response.content_part.added",
                    "item_id": opened.item["id"],
                    "output_index": opened.index,
                    "content_index": len(opened.item["content"]),
                    "part": empty_part(kind),
                }
            )
        assert opened.part is not None
        return opened.part

    def _close_all_but_calls(self) -> None:
        # Calls stay open to the end of the turn, since providers interleave the arguments of parallel ones.
        for index in [i for i, opened in self.fold.open.items() if opened.item["type"] != "function_call"]:
            self._close_item(self.fold.open[index], "completed")

    def _close_item(self, opened: OpenItem, status: ItemStatus) -> None:
        self._close_part(opened)
        self._emit(
            {
                "type": "response.output_item.done",
                "output_index": opened.index,
                "item": {**opened.item, "status": status},
            }
        )

    def _close_part(self, opened: OpenItem) -> None:
        part = opened.part
        if part is None:
            return
        for event in part_closing_events(opened, part):
            self._emit(event)


def part_closing_events(opened: OpenItem, part: OpenPart) -> list[JsonObject]:
    """`<type>.done` and, for content and summary parts, the part's own done."""
    at: JsonObject = {"item_id": opened.item["id"], "output_index": opened.index}
    if part.kind == "arguments":
        return [{"type": "response.function_call_arguments.done", **at, "arguments": part.text}]
    whole = finished_part(part)
    if part.kind == "summary_text":
        at["summary_index"] = part.index
        return [
            {"type": "response.reasoning_summary_text.done", **at, "text": part.text},
            {"type": "response.reasoning_summary_part.done", **at, "part": whole},
        ]
    at["content_index"] = part.index
    done: JsonObject
    if part.kind == "output_text":
        done = {"type": "response.output_text.done", **at, "text": part.text, "logprobs": part.logprobs}
    elif part.kind == "refusal":
        done = {"type": "response.refusal.done", **at, "refusal": part.text}
    else:
        done = {"type": "response.reasoning.done", **at, "text": part.text}
    return [done, {"type": "response.content_part.done", **at, "part": whole}]
