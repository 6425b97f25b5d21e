"""Opens and closes the items of a stream and their content parts, and collects the events."""

from __future__ import annotations

from typing import Literal

from open_responses.events.fold import Fold, OpenItem, OpenPart, empty_part, part_closing_events, skeleton
from open_responses.ids import member_id
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import runs_here

ItemStatus = Literal["completed", "incomplete"]


class ItemEmitter:
    """The base of the assembler. `fold` has the output after each emitted event."""

    def __init__(self, fold: Fold, response_id: str) -> None:
        self.fold = fold
        self._response_id = response_id
        self._events: list[JsonObject] = []

    def _emit(self, event: JsonObject) -> None:
        self.fold.apply(event)
        self._events.append(event)

    def _take(self) -> list[JsonObject]:
        events, self._events = self._events, []
        return events

    def _id(self, prefix: str) -> str:
        """Return the id of the next item, which is as hard to guess as the response's."""
        return member_id(prefix, self._response_id, len(self.fold.output))

    def _add_item(self, item: JsonObject) -> OpenItem:
        index = len(self.fold.output)
        self._emit({"type": "response.output_item.added", "output_index": index, "item": item})
        return self.fold.open[index]

    def _whole(self, item: JsonObject) -> None:
        opened = self._add_item(skeleton(item))
        if item["type"] == "shell_call":
            self._show_commands(opened.index, item["action"]["commands"])
        self._emit({"type": "response.output_item.done", "output_index": opened.index, "item": item})

    def _show_commands(self, output_index: int, commands: list[str]) -> None:
        for number, command in enumerate(commands):
            at = {"output_index": output_index, "command_index": number}
            self._emit({"type": "response.shell_call_command.added", **at, "command": ""})
            self._emit({"type": "response.shell_call_command.delta", **at, "delta": command})
            self._emit({"type": "response.shell_call_command.done", **at, "command": command})

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

    def _end_citing(self, opened: OpenItem) -> None:
        """Add the text that a subclass has held back from the item's open part."""

    def _close_part(self, opened: OpenItem) -> None:
        part = opened.part
        if part is None:
            return
        self._end_citing(opened)
        for event in part_closing_events(opened, part):
            self._emit(event)

    def _close_item(self, opened: OpenItem, status: ItemStatus) -> None:
        self._close_part(opened)
        if opened.item["type"] == "mcp_call":
            # The workflow ends a call that has run. This one was interrupted before.
            at = {"item_id": opened.item["id"], "output_index": opened.index}
            self._emit({"type": "response.mcp_call.failed", **at})
        self._emit(
            {
                "type": "response.output_item.done",
                "output_index": opened.index,
                "item": {**opened.item, "status": status},
            }
        )

    def _end_item(self, opened: OpenItem, status: ItemStatus) -> None:
        if status == "completed" and (opened.item["type"] == "mcp_call" or runs_here(opened.item)):
            # It ends when the workflow has run it.
            self._close_part(opened)
        else:
            self._close_item(opened, status)
