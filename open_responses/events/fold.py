"""Builds the response from the events of a stream.

The assembler applies the events that it emits, a resumed sample those in the log, and the API those that a client has
received. All three therefore agree on the text of every item (ITEM-5, ITEM-6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from open_responses.events.event_types import CALL_TEXTS, EVENT_TYPES, TERMINAL_EVENTS, TEXT_DONE_EVENTS, FoldStep
from open_responses.json_types import JsonObject
from open_responses.schema.output_items import ContentPart, LogProb, SummaryTextPart

CALL_TEXT = "arguments"
"""The kind of the open part that is an item's own text (`CALL_TEXTS`), and no content part."""

# What OpenAI's built-in calls have at their start beside type, id and status, by recorded streams of OpenAI.
_BUILT_IN_STARTS: dict[str, JsonObject] = {
    "code_interpreter_call": {"code": "", "outputs": []},
    "file_search_call": {"queries": [], "results": None},
    "image_generation_call": {},
    "web_search_call": {},
}


@dataclass(slots=True)
class OpenPart:
    """A content part that is still streamed.

    Its pieces are joined once, because appending to a string takes quadratic time.
    """

    kind: str
    index: int
    pieces: list[str] = field(default_factory=list)
    logprobs: list[LogProb] = field(default_factory=list)
    annotations: list[JsonObject] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text so far."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""


@dataclass(slots=True)
class OpenItem:
    """An item after its `added` and before its `done` event."""

    index: int
    item: JsonObject
    part: OpenPart | None = None


class Fold:
    """The response after the events so far. `output` has the finished items and the open ones as they are."""

    def __init__(self, output: Iterable[JsonObject] = ()) -> None:
        self.output: list[JsonObject] = list(output)
        self.open: dict[int, OpenItem] = {}
        self.response: JsonObject | None = None
        self.terminal: str | None = None
        self.next_sequence = 0

    def apply(self, event: JsonObject) -> None:
        """Apply one event. Unknown types and extensions change nothing (EXT-1)."""
        row = EVENT_TYPES.get(event["type"])
        if row is not None and row.fold is not None:
            self._STEPS[row.fold](self, event)
        if "sequence_number" in event:
            self.next_sequence = event["sequence_number"] + 1

    def snapshot(self) -> list[JsonObject]:
        """Return the present output, with the text of open parts."""
        return [self._as_it_stands(index, item) for index, item in enumerate(self.output)]

    def _as_it_stands(self, index: int, item: JsonObject) -> JsonObject:
        opened = self.open.get(index)
        if opened is None or opened.part is None:
            return item
        part = opened.part
        if part.kind == CALL_TEXT:
            return {**item, CALL_TEXTS[item["type"]]: part.text}
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
        part = OpenPart(CALL_TEXT, 0) if item["type"] in CALL_TEXTS else None
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

    def _call_text_done(self, event: JsonObject) -> None:
        opened = self.open[event["output_index"]]
        member = CALL_TEXTS[opened.item["type"]]
        opened.item[member] = event[member]
        opened.part = None

    _STEPS: ClassVar[dict[FoldStep, Callable[[Fold, JsonObject], None]]] = {
        "response": _response,
        "item_added": _item_added,
        "item_done": _item_done,
        "part_added": _part_added,
        "part_done": _part_done,
        "summary_added": _summary_added,
        "summary_done": _summary_done,
        "delta": _delta,
        "call_text_done": _call_text_done,
        "annotation_added": _annotation_added,
    }


def empty_part(kind: str) -> ContentPart | SummaryTextPart:
    """Return a content part before its first delta (ITEM-4: with every non-nullable field)."""
    if kind == "output_text":
        return {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    if kind == "refusal":
        return {"type": "refusal", "refusal": ""}
    if kind == "summary_text":
        return {"type": "summary_text", "text": ""}
    return {"type": "reasoning_text", "text": ""}


def finished_part(part: OpenPart) -> ContentPart | SummaryTextPart:
    """Return the content part with the text of its deltas so far."""
    if part.kind == "output_text":
        return {
            "type": "output_text",
            "text": part.text,
            "annotations": part.annotations,
            "logprobs": part.logprobs,
        }
    if part.kind == "refusal":
        return {"type": "refusal", "refusal": part.text}
    if part.kind == "summary_text":
        return {"type": "summary_text", "text": part.text}
    return {"type": "reasoning_text", "text": part.text}


def part_closing_events(opened: OpenItem, part: OpenPart) -> list[JsonObject]:
    """Return the `done` event of the text and, for content and summary parts, that of the part."""
    at: JsonObject = {"item_id": opened.item["id"], "output_index": opened.index}
    if part.kind == CALL_TEXT:
        kind = opened.item["type"]
        return [{"type": TEXT_DONE_EVENTS[kind], **at, CALL_TEXTS[kind]: part.text}]
    whole = finished_part(part)
    kind = TEXT_DONE_EVENTS[part.kind]
    if part.kind == "summary_text":
        at["summary_index"] = part.index
        return [
            {"type": kind, **at, "text": part.text},
            {"type": "response.reasoning_summary_part.done", **at, "part": whole},
        ]
    at["content_index"] = part.index
    done: JsonObject = {"type": kind, **at, "refusal" if part.kind == "refusal" else "text": part.text}
    if part.kind == "output_text":
        done["logprobs"] = part.logprobs
    return [done, {"type": "response.content_part.done", **at, "part": whole}]


_OF_A_CALL = ("id", "call_id", "name", "namespace", "caller", "async")


def skeleton(item: JsonObject) -> JsonObject:
    """Return an item as in its `response.output_item.added` event, without content."""
    kind = item["type"]
    if kind == "message":
        bare = {"type": kind, "id": item["id"], "status": "in_progress", "role": item["role"], "content": []}
        return {**bare, "phase": item["phase"]} if "phase" in item else bare
    if kind in ("function_call", "custom_tool_call"):
        named = {name: item[name] for name in _OF_A_CALL if name in item}
        return {"type": kind, **named, CALL_TEXTS[kind]: "", "status": "in_progress"}
    if kind == "shell_call":
        return {**item, "action": {**item["action"], "commands": []}, "status": "in_progress"}
    if kind == "function_call_output":
        caller = {"caller": item["caller"]} if "caller" in item else {}
        bare = {"type": kind, "id": item["id"], "call_id": item["call_id"], "output": "", "status": "in_progress"}
        return {**bare, **caller}
    if kind == "mcp_call":
        bare = {name: value for name, value in item.items() if name != "output_parts"}
        return {**bare, "arguments": "", "output": None, "error": None, "status": "in_progress"}
    if kind == "mcp_list_tools":
        return {**item, "tools": [], "error": None, "status": "in_progress"}
    if kind == "reasoning":
        return {"type": kind, "id": item["id"], "status": "in_progress", "summary": [], "content": []}
    if kind in _BUILT_IN_STARTS:
        container = {"container_id": item["container_id"]} if "container_id" in item else {}
        return {"type": kind, "id": item["id"], "status": "in_progress", **_BUILT_IN_STARTS[kind], **container}
    if kind in ("compaction", "program_output"):
        # The types of OpenAI's SDK have no beginning of them.
        return dict(item)
    return {**item, "status": "in_progress"}
