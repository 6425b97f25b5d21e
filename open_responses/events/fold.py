"""Events in, response out: the one place that knows what a stream of events amounts to.

The assembler applies what it emits, a resumed sample applies what the log holds, and the API applies what a client
would have seen. All three therefore agree on the text of every item (ITEM-5, ITEM-6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from open_responses.json_types import JsonObject

TERMINAL_EVENTS = frozenset({"response.completed", "response.failed", "response.incomplete"})
"""The types that end a stream. A cancelled response ends in `response.incomplete` with the status `cancelled`: the
specification has no event of its own for it, and a client must be able to rebuild the status from known events."""


@dataclass(slots=True)
class OpenPart:
    """A part that still grows. Pieces are joined once, at its end: appending to a long string is quadratic."""

    kind: str
    index: int
    pieces: list[str] = field(default_factory=list)
    logprobs: list[JsonObject] = field(default_factory=list)
    annotations: list[JsonObject] = field(default_factory=list)

    @property
    def text(self) -> str:
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""


@dataclass(slots=True)
class OpenItem:
    """An item between its `added` and its `done`."""

    index: int
    item: JsonObject
    part: OpenPart | None = None


class Fold:
    """The state after the events applied so far. `output` holds finished items and, as they stand, open ones."""

    def __init__(self, output: Iterable[JsonObject] = ()) -> None:
        self.output: list[JsonObject] = list(output)
        self.open: dict[int, OpenItem] = {}
        self.response: JsonObject | None = None
        self.terminal: str | None = None
        self.next_sequence = 0

    def apply(self, event: JsonObject) -> None:
        """Take in one event. Types that are not known, extensions among them, change nothing (EXT-1)."""
        handler = self._HANDLERS.get(event["type"])
        if handler is not None:
            handler(self, event)
        if "sequence_number" in event:
            self.next_sequence = event["sequence_number"] + 1

    def snapshot(self) -> list[JsonObject]:
        """The output as it stands, the text of open parts included."""
        return [self._as_it_stands(index, item) for index, item in enumerate(self.output)]

    def _as_it_stands(self, index: int, item: JsonObject) -> JsonObject:
        opened = self.open.get(index)
        if opened is None or opened.part is None:
            return item
        part = opened.part
        if part.kind == "arguments":
            return {**item, "arguments": part.text}
        if part.kind == "summary_text":
            return {**item, "summary": [*item["summary"][: part.index], finished_part(part)]}
        return {**item, "content": [*item["content"][: part.index], finished_part(part)]}

    def _response(self, event: JsonObject) -> None:
        self.response = event["response"]
        if event["type"] in TERMINAL_EVENTS:
            self.terminal = event["type"]

    def _item_added(self, event: JsonObject) -> None:
        index = event["output_index"]
        item = dict(event["item"])
        for key in ("content", "summary"):
            if key in item:
                item[key] = list(item[key])
        self.output.append(item)
        part = OpenPart("arguments", 0) if item["type"] in ("function_call", "mcp_call") else None
        self.open[index] = OpenItem(index, item, part)

    def _item_done(self, event: JsonObject) -> None:
        index = event["output_index"]
        self.output[index] = event["item"]
        self.open.pop(index, None)

    def _part_added(self, event: JsonObject) -> None:
        opened = self.open[event["output_index"]]
        opened.part = OpenPart(event["part"]["type"], event["content_index"])

    def _summary_added(self, event: JsonObject) -> None:
        opened = self.open[event["output_index"]]
        opened.part = OpenPart("summary_text", event["summary_index"])

    def _delta(self, event: JsonObject) -> None:
        part = self.open[event["output_index"]].part
        if part is None:
            raise ValueError(f"{event['type']} outside a part")
        part.pieces.append(event["delta"])
        if event.get("logprobs"):
            part.logprobs.extend(event["logprobs"])

    def _annotation_added(self, event: JsonObject) -> None:
        part = self.open[event["output_index"]].part
        if part is None:
            raise ValueError("an annotation outside a part")
        part.annotations.append(event["annotation"])

    def _part_done(self, event: JsonObject) -> None:
        opened = self.open[event["output_index"]]
        opened.item["content"].append(event["part"])
        opened.part = None

    def _summary_done(self, event: JsonObject) -> None:
        opened = self.open[event["output_index"]]
        opened.item["summary"].append(event["part"])
        opened.part = None

    def _arguments_done(self, event: JsonObject) -> None:
        opened = self.open[event["output_index"]]
        opened.item["arguments"] = event["arguments"]
        opened.part = None

    _HANDLERS: ClassVar[dict[str, Callable[[Fold, JsonObject], None]]] = {
        "response.queued": _response,
        "response.created": _response,
        "response.in_progress": _response,
        "response.completed": _response,
        "response.failed": _response,
        "response.incomplete": _response,
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.content_part.added": _part_added,
        "response.content_part.done": _part_done,
        "response.reasoning_summary_part.added": _summary_added,
        "response.reasoning_summary_part.done": _summary_done,
        "response.output_text.delta": _delta,
        "response.output_text.annotation.added": _annotation_added,
        "response.refusal.delta": _delta,
        "response.reasoning.delta": _delta,
        "response.reasoning_summary_text.delta": _delta,
        "response.function_call_arguments.delta": _delta,
        "response.function_call_arguments.done": _arguments_done,
        "response.mcp_call_arguments.delta": _delta,
        "response.mcp_call_arguments.done": _arguments_done,
    }


def empty_part(kind: str) -> JsonObject:
    """A content part before its first delta (ITEM-4: every non-nullable field is there)."""
    if kind == "output_text":
        return {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    if kind == "refusal":
        return {"type": "refusal", "refusal": ""}
    return {"type": kind, "text": ""}


def finished_part(part: OpenPart) -> JsonObject:
    """The content part that the deltas so far amount to."""
    if part.kind == "output_text":
        return {
            "type": "output_text",
            "text": part.text,
            "annotations": part.annotations,
            "logprobs": part.logprobs,
        }
    if part.kind == "refusal":
        return {"type": "refusal", "refusal": part.text}
    return {"type": part.kind, "text": part.text}


def part_closing_events(opened: OpenItem, part: OpenPart) -> list[JsonObject]:
    """`<type>.done` and, for content and summary parts, the part's own done."""
    at: JsonObject = {"item_id": opened.item["id"], "output_index": opened.index}
    if part.kind == "arguments":
        return [{"type": f"response.{opened.item['type']}_arguments.done", **at, "arguments": part.text}]
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


def skeleton(item: JsonObject) -> JsonObject:
    """An item as its `response.output_item.added` shows it: what is known before any content."""
    kind = item["type"]
    if kind == "message":
        bare = {"type": kind, "id": item["id"], "status": "in_progress", "role": item["role"], "content": []}
        return {**bare, "phase": item["phase"]} if "phase" in item else bare
    if kind == "function_call":
        return {
            "type": kind,
            "id": item["id"],
            "call_id": item["call_id"],
            "name": item["name"],
            "arguments": "",
            "status": "in_progress",
        }
    if kind == "function_call_output":
        return {"type": kind, "id": item["id"], "call_id": item["call_id"], "output": "", "status": "in_progress"}
    if kind == "mcp_call":
        return {**item, "arguments": "", "output": None, "error": None, "status": "in_progress"}
    if kind == "mcp_list_tools":
        return {**item, "tools": [], "error": None, "status": "in_progress"}
    if kind == "reasoning":
        return {"type": kind, "id": item["id"], "status": "in_progress", "summary": [], "content": []}
    if kind == "compaction":
        return dict(item)
    return {**item, "status": "in_progress"}
