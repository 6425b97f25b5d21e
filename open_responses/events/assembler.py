"""Turns deltas into events. This module alone implements the grammar of a stream.

The grammar is the order of events, their ids and indexes, and when an item opens and closes (ITEM-4 to ITEM-7). An
adapter cannot violate it, since it never creates an event. The log adds the sequence numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

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
from open_responses.events.event_types import CALL_TEXTS, DELTA_EVENTS, EVENT_TYPES
from open_responses.events.fold import Fold, OpenItem, empty_part, skeleton
from open_responses.events.item_emitter import ItemStatus
from open_responses.events.text_emitter import TextEmitter
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import newest_item, runs_here, without_call
from open_responses.tool_use.built_in import PROGRAMS, Opening, opened_item, read_arguments
from open_responses.tool_use.client_calls import NotACall, call_item
from open_responses.tool_use.custom_input import CustomInput
from open_responses.tool_use.tool_items import ITEM_PREFIXES, mcp_approval_request, mcp_call, refused_call
from open_responses.tool_use.tool_table import Route, ToolTable

CUT_OFF = ("length", "content_filter")
"""The reasons after which the last item of an answer is incomplete."""

_MAX_CALL_ID = 64
_CALLS = ("function_call", "custom_tool_call", "mcp_call")
_STREAMED = ("function", "custom")
"""The kinds of client's tools whose calls are streamed. Calls of any other kind are emitted whole."""


@dataclass(slots=True)
class _Call:
    """One of the turn's calls. `custom_input` reads the text of a custom tool out of a function's arguments.

    `index` is None while the stream has no event of the call: the provider has not sent its name yet, the call is
    emitted at the end of the turn (approvals, refusals), or it is `dropped`.
    """

    call_id: str | None
    name: str | None
    namespace: str | None = None
    is_custom: bool = False
    members: JsonObject = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)
    custom_input: CustomInput | None = None
    route: Route | None = None
    index: int | None = None
    dropped: bool = False


class Assembler(TextEmitter):
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
        self._tool_table = tool_table or ToolTable()
        super().__init__(fold or Fold(), response_id, self._tool_table.earlier.sources)
        self.finish: Finish | None = None
        self._calls: dict[int, _Call] = {}
        # The output index of each open call of a built-in tool, by the provider's number of the call.
        self._provider_items: dict[int, int] = {}
        self._reasoning_end: ReasoningSeal | ItemEnd | None = None
        self._ordinal = self._tool_table.earlier.count

    def feed(self, delta: Delta) -> list[JsonObject]:
        """Return the events that a delta causes, in order, without sequence numbers."""
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
                self._close_all_but_calls()
                item = {**without_call(delta.item), "id": self._id("item_"), "status": "in_progress"}
                self._provider_items[delta.key] = self._add_item({**skeleton(item), **item}).index
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
        for call in self._calls.values():
            if call.custom_input is not None and call.index in self.fold.open:
                self._extend_call(call.index, call.custom_input.rest())
        still_open = sorted(self.fold.open)
        for index in still_open:
            self._end_item(self.fold.open[index], status if index == still_open[-1] else "completed")
        if status == "completed":
            for call in self._calls.values():
                self._show_whole(call)
        return self._take()

    @property
    def has_nameless_calls(self) -> bool:
        """Whether the provider never sent the name of one of the turn's calls."""
        return any(not call.name for call in self._calls.values())

    @property
    def has_calls(self) -> bool:
        """Whether the turn has calls, emitted already or not."""
        return bool(self._calls)

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
        self._calls.clear()
        self._provider_items.clear()
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

    def _provider_progress(self, delta: ProviderItemProgress) -> None:
        index = self._provider_items.get(delta.key)
        if index is None:
            return
        opened, mark = self.fold.open[index], EVENT_TYPES[delta.event].trace
        if not delta.event.startswith(f"response.{opened.item['type']}"):
            return
        if mark == "D":
            # The whole text is known here, so that it agrees with the deltas (ITEM-5).
            self._close_part(opened)
        elif mark != "d" or (opened.part is not None and delta.members["delta"]):
            at = {"item_id": opened.item["id"], "output_index": index}
            self._emit({"type": delta.event, **at, **delta.members})

    def _provider_item(self, delta: ProviderItem) -> None:
        # A provider may be another server of this kind, whose calls this one must not run again.
        given = without_call(delta.item)
        index = None if delta.key is None else self._provider_items.pop(delta.key, None)
        if index is None or self.fold.open[index].item["type"] != given["type"]:
            self._close_all_but_calls()
            item = {**given, "id": self._id(ITEM_PREFIXES.get(given["type"], "item_"))}
            self._whole({**skeleton(item), "status": "completed", **item})
            return
        opened = self.fold.open[index]
        item = {**opened.item, "status": "completed", **given, "id": opened.item["id"]}
        if opened.part is not None and opened.part.text:
            self._close_part(opened)
        member = CALL_TEXTS.get(item["type"])
        if member is not None and opened.part is None:
            item[member] = opened.item[member]
        self._emit({"type": "response.output_item.done", "output_index": index, "item": item})

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

    def _text(
        self,
        item_type: str,
        kind: str,
        text: str,
        logprobs: list[JsonObject] | None = None,
        phase: Phase | None = None,
    ) -> None:
        opened = self._item_of(item_type, phase)
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

    def _tool_call(self, delta: ToolCallDelta) -> None:
        call = self._calls.get(delta.index)
        if call is None:
            self._close_all_but_calls()
            # REQ-6: without parallel calls, the second call of a turn is ignored.
            dropped = not self._tool_table.parallel and bool(self._calls)
            call = self._calls[delta.index] = _Call(delta.call_id, delta.name, dropped=dropped)
        call.call_id = call.call_id or delta.call_id
        call.name = call.name or delta.name
        call.namespace = call.namespace or delta.namespace
        call.is_custom = call.is_custom or delta.is_custom
        call.members = call.members or delta.members or {}
        if delta.arguments:
            call.pieces.append(delta.arguments)
        if call.name and not call.dropped:
            self._stream_call(call, call.name)

    def _stream_call(self, call: _Call, name: str) -> None:
        """Emit the new arguments of a call, unless the call is emitted whole at the end of the turn."""
        if call.route is None:
            call.route = self._tool_table.route(name, call.namespace)
        if call.route.kind == "refused" or call.route.needs_approval or call.route.form not in _STREAMED:
            return
        if call.route.kind == "built_in" and self._tool_table.built_in[call.route.tool].row.streamed is None:
            return
        if call.index is None:
            call.index = self._open_call(call, call.route)
        for piece in call.pieces:
            self._extend_call(call.index, piece if call.custom_input is None else call.custom_input.feed(piece))
        call.pieces.clear()

    def _extend_call(self, index: int, text: str) -> None:
        if not text:
            return
        item = self.fold.open[index].item
        self._emit({"type": DELTA_EVENTS[item["type"]], "item_id": item["id"], "output_index": index, "delta": text})

    def _open_call(self, call: _Call, route: Route) -> int:
        if route.kind == "built_in":
            call.custom_input = CustomInput(self._tool_table.built_in[route.tool].row.streamed or "")
            return self._open_built_in(call, route, None)
        if route.kind != "mcp":
            is_custom = call.is_custom or route.form == "custom"
            if is_custom and not call.is_custom:
                call.custom_input = CustomInput()
            item = {
                "type": "custom_tool_call" if is_custom else "function_call",
                "id": self._id("ctc_" if is_custom else "fc_"),
                "call_id": self._unique(call.call_id),
                "name": route.tool,
                **({} if route.namespace is None else {"namespace": route.namespace}),
                **call.members,
                "input" if is_custom else "arguments": "",
                "status": "in_progress",
            }
            return self._add_item(item).index
        opened = self._add_item(mcp_call(self._id("mcp_"), route.server_label, route.tool))
        at = {"item_id": opened.item["id"], "output_index": opened.index}
        self._emit({"type": "response.mcp_call.in_progress", **at})
        return opened.index

    def _open_built_in(self, call: _Call, route: Route, arguments: str | None) -> int:
        """Begin the item of a built-in tool's call, which stays open until the workflow has run it."""
        offered, earlier = self._tool_table.built_in[route.tool], self._tool_table.earlier
        row = offered.row
        self._ordinal += 1
        item_id = self._id(row.id_prefix)
        opening = Opening(
            self._response_id,
            route.tool,
            read_arguments(arguments or ""),
            offered.settings,
            newest_item(row.item_type, self.fold.output) or earlier.newest.get(row.item_type),
            item_id,
            self._tool_table.by_programs if row.name == PROGRAMS else (),
        )
        item = opened_item(row, item_id, opening, ordinal=self._ordinal, arguments=arguments, members=call.members)
        opened = self._add_item(item)
        if not row.working:
            return opened.index
        at = {"item_id": opened.item["id"], "output_index": opened.index}
        self._emit({"type": f"response.{row.item_type}.in_progress", **at})
        return opened.index

    def _unique(self, call_id: str | None) -> str:
        """Return the model's id (ITEM-7), or a new one if it is too long to be sent back, or already in use.

        Some models number their calls from 1 in each turn. A tool uses the id as the key that identifies a repeated
        call.
        """
        if not call_id or len(call_id) > _MAX_CALL_ID:
            return self._id("call_")
        used = {item.get("call_id") for item in self.fold.output}
        return call_id if call_id not in used else self._id("call_")

    def _show_whole(self, call: _Call) -> None:
        """Emit a call that waited for the end of the turn."""
        name, route, arguments = call.name or "", call.route, "".join(call.pieces)
        if call.index is not None or call.dropped:
            return
        if route is not None and route.kind == "built_in" and not route.needs_approval:
            self._open_built_in(call, route, arguments)
            return
        if route is not None and route.needs_approval:
            index = len(self.fold.output)
            item = mcp_approval_request(self._response_id, index, route.server_label, route.tool, arguments)
        elif route is not None and route.form not in _STREAMED:
            self._show_client_call(call, route, arguments)
            return
        else:
            reason = route.reason if route is not None else "The call names no tool."
            item = refused_call(self._id("ref_"), self._unique(call.call_id), name, arguments, reason)
        self._close_item(self._add_item({**item, "status": "in_progress"}), "completed")

    def _show_client_call(self, call: _Call, route: Route, arguments: str) -> None:
        """Emit the client's item of a call whose arguments are known, or a refused call if they make none."""
        item_id, call_id = self._id(ITEM_PREFIXES[f"{route.form}_call"]), self._unique(call.call_id)
        try:
            item = call_item(route.form, item_id, call_id, arguments)
        except NotACall as problem:
            item = refused_call(self._id("ref_"), call_id, call.name or route.tool, arguments, str(problem))
        self._whole(item)

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

    def _close_all_but_calls(self) -> None:
        # Calls stay open to the end of the turn, since providers interleave the arguments of parallel ones. A call of a
        # built-in tool ends when the provider has run it.
        running = set(self._provider_items.values())
        for index in [i for i, opened in self.fold.open.items() if opened.item["type"] not in _CALLS]:
            if index not in running and not runs_here(self.fold.open[index].item):
                self._close_item(self.fold.open[index], "completed")
