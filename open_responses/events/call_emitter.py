"""Emits the calls of a model turn: those of the model's functions, and those that the provider runs itself.

A call stays open beside the text and the other calls, since providers interleave the arguments of parallel calls. When
its item begins depends on the route of its name (`ToolTable`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from open_responses.deltas import ProviderItem, ProviderItemProgress, ProviderItemStart, ToolCallDelta
from open_responses.events.event_types import CALL_TEXTS, DELTA_EVENTS, EVENT_TYPES
from open_responses.events.fold import Fold, skeleton
from open_responses.events.text_emitter import TextEmitter
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import newest_item, runs_here, without_call
from open_responses.tool_use.built_in_call_items import opened_item, read_arguments
from open_responses.tool_use.built_in_row import Opening
from open_responses.tool_use.client_calls import NotACall, call_item
from open_responses.tool_use.code_functions import PROGRAMS
from open_responses.tool_use.custom_input import CustomInput
from open_responses.tool_use.route import Route
from open_responses.tool_use.tool_items import ITEM_PREFIXES, mcp_approval_request, mcp_call, refused_call
from open_responses.tool_use.tool_table import ToolTable

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


class CallEmitter(TextEmitter):
    """Emits calls.

    Args:
        fold: The output so far.
        response_id: The response.
        tool_table: The tools of the model turn, which route each call.
    """

    def __init__(self, fold: Fold, response_id: str, tool_table: ToolTable) -> None:
        super().__init__(fold, response_id, tool_table.earlier.sources)
        self._tool_table = tool_table
        self._ordinal = tool_table.earlier.count
        self._calls: dict[int, _Call] = {}
        # The output index of each open call of a built-in tool, by the provider's number of the call.
        self._provider_items: dict[int, int] = {}

    @property
    def has_nameless_calls(self) -> bool:
        """Whether the provider never sent the name of one of the turn's calls."""
        return any(not call.name for call in self._calls.values())

    @property
    def has_calls(self) -> bool:
        """Whether the turn has calls, emitted already or not."""
        return bool(self._calls)

    def _clear_calls(self) -> None:
        self._calls.clear()
        self._provider_items.clear()

    def _end_inputs(self) -> None:
        """Emit the text of custom tools that waits for the end of a function's arguments."""
        for call in self._calls.values():
            if call.custom_input is not None and call.index in self.fold.open:
                self._extend_call(call.index, call.custom_input.rest())

    def _emit_waiting_calls(self) -> None:
        """Emit the calls that wait for the end of the turn, in their order."""
        for call in self._calls.values():
            self._show_whole(call)

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

    def _provider_start(self, delta: ProviderItemStart) -> None:
        self._close_all_but_calls()
        item = {**without_call(delta.item), "id": self._id("item_"), "status": "in_progress"}
        self._provider_items[delta.key] = self._add_item({**skeleton(item), **item}).index

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

    def _close_all_but_calls(self) -> None:
        # Calls stay open to the end of the turn, since providers interleave the arguments of parallel ones. A call of a
        # built-in tool ends when the provider has run it.
        running = set(self._provider_items.values())
        for index in [i for i, opened in self.fold.open.items() if opened.item["type"] not in _CALLS]:
            if index not in running and not runs_here(self.fold.open[index].item):
                self._close_item(self.fold.open[index], "completed")
