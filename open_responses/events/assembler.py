"""Turns deltas into events. This module and its emitters alone implement the grammar of a stream.

The grammar is the order of events, their ids and indexes, and when an item opens and closes (ITEM-4 to ITEM-7). An
adapter cannot violate it, since it never creates an event. The log adds the sequence numbers.
"""

from __future__ import annotations

from open_responses.deltas import (
    Delta,
    Finish,
    ItemEnd,
    Phase,
    ProviderItem,
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    ResumeToken,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)
from open_responses.events.call_emitter import CallEmitter
from open_responses.events.event_types import DELTA_EVENTS
from open_responses.events.fold import Fold, OpenItem, empty_part
from open_responses.events.item_emitter import ItemStatus
from open_responses.json_types import JsonObject
from open_responses.tool_use.tool_table import ToolTable

CUT_OFF = ("length", "content_filter")
"""The reasons after which the last item of an answer is incomplete."""


class Assembler(CallEmitter):
    """Turns one turn's deltas into events, on top of the output that `fold` already holds.

    `tool_table` maps the name of a call to its item: a function call of the client or of a hosted tool, which is
    streamed; an `mcp_call`, which is streamed and stays open until the workflow has run it; a call of a built-in tool
    that the workflow runs, which begins at the end of the turn, or with its code; a request for approval, a refusal or
    a call of a shell, which is emitted whole at the end of the turn.

    The end of a reasoning item waits for the next delta: if none follows and the token limit, or a filter, ended the
    answer, then the reasoning itself was cut off, and the item is `incomplete` (ITEM-2).

    A sample that continues a lost one passes the fold of the log: `unfinished_text` returns the text that it may
    continue, and `abandon` closes the items that it cannot continue. An id is computed from the response's id and the
    output index, so that the same deltas give the same events each time.
    """

    def __init__(self, fold: Fold | None = None, tool_table: ToolTable | None = None, response_id: str = "") -> None:
        super().__init__(fold or Fold(), response_id, tool_table or ToolTable())
        self.finish: Finish | None = None
        self._reasoning_end: ReasoningSeal | ItemEnd | None = None
        # The item of the last text.
        self._writing: OpenItem | None = None

    def feed(self, delta: Delta) -> list[JsonObject]:
        """Return the events that a delta causes, in order, without sequence numbers."""
        if type(delta) is TextDelta and self._reasoning_end is None:
            more = self._more_text(delta)
            if more is not None:
                return [more]
        if not isinstance(delta, Finish):
            self._end_reasoning()
        match delta:
            case TextDelta():
                self._begin_phase(delta.phase)
                self._text("message", "output_text", delta.text, delta.logprobs, delta.phase)
            case ToolCallDelta():
                self._tool_call(delta)
            case ReasoningDelta():
                self._text("reasoning", "reasoning_text", delta.text)
            case ReasoningSummaryDelta():
                self._summary(delta)
            case RefusalDelta():
                self._text("message", "refusal", delta.text)
            case ReasoningSeal():
                self._reasoning_end = delta
            case ItemEnd():
                if self._has_open("reasoning"):
                    self._reasoning_end = delta
                else:
                    self._close_all_but_calls()
            case TextAnnotation():
                self._annotate(delta.annotation)
            case ProviderItemStart():
                self._provider_start(delta)
            case ProviderItemProgress():
                self._provider_progress(delta)
            case ProviderItem():
                self._provider_item(delta)
            case Finish():
                self.finish = delta
                if delta.reason in CUT_OFF:
                    self._reasoning_end = None
                self._end_reasoning()
            case ResumeToken():
                pass
        return self._take()

    def close(self, status: ItemStatus) -> list[JsonObject]:
        """End the turn, after its `Finish`. The last open item gets `status`, those before it are completed (ITEM-2).

        An `mcp_call` that is complete stays open: it ends when it has been run.
        """
        self._end_reasoning()
        self._end_inputs()
        still_open = sorted(self.fold.open)
        for index in still_open:
            self._end_item(self.fold.open[index], status if index == still_open[-1] else "completed")
        if status == "completed":
            self._emit_waiting_calls()
        return self._take()

    def unfinished_text(self) -> str | None:
        """Return the text of an interrupted answer that can be continued in its own item, or None.

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

    def add_whole(self, item: JsonObject) -> list[JsonObject]:
        """Return the events of an item that is not streamed, such as a compaction."""
        self._whole(item)
        return self._take()

    def abandon(self) -> list[JsonObject]:
        """Close the open items as incomplete. A later sample starts new items."""
        self._clear_calls()
        self._end_reasoning()
        for index in sorted(self.fold.open):
            self._close_item(self.fold.open[index], "incomplete")
        return self._take()

    def _begin_phase(self, phase: Phase | None) -> None:
        """Close the open message if the delta has another phase, so that it starts a new message."""
        if phase is not None and any(
            opened.item["type"] == "message" and opened.item.get("phase") != phase for opened in self.fold.open.values()
        ):
            self._close_all_but_calls()

    def _end_reasoning(self) -> None:
        """End the reasoning item whose end has waited."""
        end, self._reasoning_end = self._reasoning_end, None
        if isinstance(end, ReasoningSeal):
            self._seal(end.data)
        elif end is not None:
            self._close_all_but_calls()

    def _has_open(self, item_type: str) -> bool:
        return any(opened.item["type"] == item_type for opened in self.fold.open.values())

    def _seal(self, data: str) -> None:
        """End a reasoning item with its encrypted content."""
        opened = self._item_of("reasoning")
        self._close_part(opened)
        opened.item["encrypted_content"] = data
        self._close_item(opened, "completed")

    def _annotate(self, annotation: JsonObject) -> None:
        opened = self._item_of("message")
        self._annotate_given(opened, self._part_of(opened, "output_text"), annotation)

    def _more_text(self, delta: TextDelta) -> JsonObject | None:
        """The event of text that goes on in the open part of a message; None for any other.

        Nearly all deltas are of this kind. The other way of a text has the same result, in a dozen calls.
        """
        opened = self._writing
        if opened is None or self.fold.open.get(opened.index) is not opened:
            return None
        part = opened.part
        if part is None or part.kind != "output_text" or self._sources:
            return None
        if not delta.text or delta.logprobs or (delta.phase is not None and delta.phase != opened.item.get("phase")):
            return None
        part.pieces.append(delta.text)
        return {
            "type": "response.output_text.delta",
            "item_id": opened.item["id"],
            "output_index": opened.index,
            "content_index": part.index,
            "delta": delta.text,
            "logprobs": [],
        }

    def _text(
        self,
        item_type: str,
        kind: str,
        text: str,
        logprobs: list[JsonObject] | None = None,
        phase: Phase | None = None,
    ) -> None:
        self._writing = opened = self._item_of(item_type, phase)
        self._add_text(opened, self._part_of(opened, kind), text, logprobs)

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
                    "type": DELTA_EVENTS["summary_text"],
                    "item_id": opened.item["id"],
                    "output_index": opened.index,
                    "summary_index": opened.part.index,
                    "delta": delta.text,
                }
            )

    def _item_of(self, item_type: str, phase: Phase | None = None) -> OpenItem:
        """Return the open item of a type, or close the open items and return a new one."""
        for opened in self.fold.open.values():
            if opened.item["type"] == item_type:
                return opened
        self._close_all_but_calls()
        if item_type == "message":
            message = {"type": "message", "id": self._id("msg_"), "status": "in_progress", "role": "assistant"}
            return self._add_item({**message, "content": [], **({"phase": phase} if phase is not None else {})})
        return self._add_item(
            {"type": "reasoning", "id": self._id("rs_"), "status": "in_progress", "summary": [], "content": []}
        )
