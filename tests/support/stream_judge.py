"""An outside tester's judge of a stream: the specification's rules, written down again without a look at our own code.

`judge` goes through events in order and fails at the first that breaks a rule; what it returns was rebuilt from the
deltas alone, by a client that ignores every event with a slug (SSE-3, ITEM-1 to ITEM-7, EXT-1).
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

Json = dict[str, Any]

TERMINAL = {
    "response.completed": {"completed"},
    "response.failed": {"failed"},
    "response.incomplete": {"incomplete", "cancelled"},
}
_PARTS = {
    "response.output_text": ("text", "output_text"),
    "response.refusal": ("refusal", "refusal"),
    "response.reasoning": ("text", "reasoning_text"),
}
_BUILT_IN = {
    f"response.{name}"
    for name in ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call")
}
_ZERO = {"text": "", "refusal": "", "arguments": "", "input": "", "output": "", "content": [], "summary": []}


class Item:
    """An item as a client builds it."""

    def __init__(self, added: Json) -> None:
        # The judge adds to it, and leaves the event as it is: its caller compares that with the replay.
        self.built = deepcopy(added)
        self.part: str | None = None
        self.done: Json | None = None

    def add(self, list_name: str, index: int, part: Json) -> None:
        assert self.part is None, f"a part begins inside another: {part}"
        assert index == len(self.built[list_name]), "parts are numbered without a gap"
        for name, zero in _ZERO.items():
            assert part.get(name, zero) == zero, f"a part begins empty: {part}"
        self.built[list_name].append(dict(part))
        self.part = list_name

    def now(self, list_name: str, index: int) -> Json:
        assert self.part == list_name, f"no open part of {list_name}"
        assert index == len(self.built[list_name]) - 1, "only the newest part is open"
        part: Json = self.built[list_name][index]
        return part


def judge(events: Iterable[Json]) -> Json:
    """The rebuilt response. Raises AssertionError with the rule that is broken."""
    items: list[Item] = []
    ids: set[str] = set()
    kinds: list[str] = []
    last_error: Json | None = None
    response: Json = {}
    for number, event in enumerate(events):
        kind = event["type"]
        assert event["sequence_number"] == number, f"event {number} says it is {event['sequence_number']} (SSE-3)"
        assert not kinds or kinds[-1] not in TERMINAL, f"{kind} follows the end"
        _check_opening(kinds, kind)
        kinds.append(kind)
        if "response" in event:
            response = event["response"]
            _check_snapshot(kind, response)
            if kind in TERMINAL:
                assert (kind == "response.failed") == (last_error is not None), "`error`, then `response.failed`"
                _check_end(items, response, last_error)
        elif kind == "error":
            last_error = event["error"]
            assert last_error is not None
            assert last_error.keys() >= {"type", "code", "message", "param"}
        elif kind == "response.output_item.added":
            assert event["output_index"] == len(items), "items are numbered without a gap"
            _check_added(event["item"], ids)
            items.append(Item(event["item"]))
        elif not kind.startswith("open_responses:"):
            _item_event(kind, event, items)
    assert kinds[-1] in TERMINAL, "a stream ends with one terminal event"
    return {**response, "output": [item.built for item in items]}


def _check_opening(before: list[str], kind: str) -> None:
    if not before:
        assert kind == "response.created", f"the first event is {kind}"
    elif len(before) == 1:
        assert kind in ("response.queued", "response.in_progress", *TERMINAL, "error"), f"{kind} is second"
    else:
        assert kind not in ("response.created", "response.queued"), f"{kind} comes late"
        assert kind != "response.in_progress" or before == ["response.created", "response.queued"]


def _check_snapshot(kind: str, response: Json) -> None:
    allowed = {
        "response.created": {"queued", "in_progress"},
        "response.queued": {"queued"},
        "response.in_progress": {"in_progress"},
        **TERMINAL,
    }
    assert response["status"] in allowed[kind], f"{kind} with status {response['status']} (ITEM-3)"
    if kind not in TERMINAL:
        assert response["output"] == []
        assert response["usage"] is None


_BEGIN_EMPTY = ("message", "function_call", "custom_tool_call", "function_call_output", "reasoning")


def _check_added(item: Json, ids: set[str]) -> None:
    assert item["id"], item
    assert item["id"] not in ids, "an id is used once (ITEM-6)"
    ids.add(item["id"])
    if item["type"] not in ("compaction",):
        assert item["status"] == "in_progress", f"an item begins in progress: {item}"
    for name, zero in _ZERO.items():
        if item["type"] in _BEGIN_EMPTY and name in item:
            assert item[name] == zero, f"an item begins empty (ITEM-4): {item}"
    if item["type"] == "message":
        assert item["role"] == "assistant"
    if item["type"] in ("function_call", "custom_tool_call"):
        assert item["name"]
        assert item["call_id"]


def _item_event(kind: str, event: Json, items: list[Item]) -> None:
    assert 0 <= event["output_index"] < len(items), f"{kind} before its item"
    item = items[event["output_index"]]
    assert item.done is None, f"{kind} after the item's end (ITEM-2)"
    if "item_id" in event:
        assert event["item_id"] == item.built["id"], "one id for one item (ITEM-6)"
    base, _, verb = kind.rpartition(".")
    if kind == "response.output_item.done":
        _finish(item, event["item"])
    elif base == "response.content_part":
        _part(item, "content", event["content_index"], verb, event["part"])
    elif base == "response.reasoning_summary_part":
        _part(item, "summary", event["summary_index"], verb, event["part"])
    elif base in _PARTS:
        name, part_kind = _PARTS[base]
        part = item.now("content", event["content_index"])
        assert part["type"] == part_kind, f"{kind} in a part of type {part['type']}"
        _text(part, name, verb, event)
        if verb == "delta" and event.get("logprobs"):
            part["logprobs"] = [*part["logprobs"], *event["logprobs"]]
    elif base == "response.reasoning_summary_text":
        _text(item.now("summary", event["summary_index"]), "text", verb, event)
    elif base in ("response.function_call_arguments", "response.mcp_call_arguments"):
        _text(item.built, "arguments", verb, event)
    elif base == "response.custom_tool_call_input":
        _text(item.built, "input", verb, event)
    elif base == "response.shell_call_command":
        _command(item.built["action"]["commands"], verb, event)
    elif base == "response.code_interpreter_call_code":
        _text(item.built, "code", verb, event)
    elif kind == "response.output_text.annotation.added":
        part = item.now("content", event["content_index"])
        assert event["annotation_index"] == len(part["annotations"])
        part["annotations"] = [*part["annotations"], event["annotation"]]
    elif base in _BUILT_IN:
        assert item.built["type"] == base.removeprefix("response."), f"{kind} of an item of type {item.built['type']}"
    else:
        assert base in ("response.mcp_call", "response.mcp_list_tools"), f"an event that nobody knows: {kind}"


def _text(holder: Json, name: str, verb: str, event: Json) -> None:
    if verb == "delta":
        assert "delta" in event
        holder[name] += event["delta"]
    else:
        assert verb == "done"
        assert event[name] == holder[name], "the deltas add up to the text that is done (ITEM-5)"


def _command(commands: list[str], verb: str, event: Json) -> None:
    if verb == "added":
        assert event["command_index"] == len(commands)
        commands.append(event["command"])
    elif verb == "delta":
        commands[event["command_index"]] += event["delta"]
    else:
        assert event["command"] == commands[event["command_index"]], "the deltas add up to the command that is done"


def _part(item: Item, list_name: str, index: int, verb: str, part: Json) -> None:
    if verb == "added":
        item.add(list_name, index, part)
        return
    assert part == item.now(list_name, index), "the deltas add up to the part that is done (ITEM-5)"
    item.part = None


def _finish(item: Item, done: Json) -> None:
    assert item.part is None, "a part is done before its item"
    assert done["status"] in ("completed", "incomplete", "failed"), done
    assert {done[name] for name in ("id", "type")} == {item.built[name] for name in ("id", "type")}
    streamed = {
        "message": ("content",),
        "function_call": ("arguments",),
        "custom_tool_call": ("input",),
        "shell_call": ("action",),
        "reasoning": ("content", "summary"),
    }
    for name in streamed.get(done["type"], ()):
        assert item.built[name] == done[name], f"what was streamed is what stays (ITEM-5): {name}"
    item.done = done
    item.built = {**item.built, **done}


def _check_end(items: list[Item], response: Json, error: Json | None) -> None:
    assert all(item.done is not None for item in items), "every item has its end before the response"
    assert [item.done for item in items] == response["output"], "the response holds the items as they were done"
    if error is not None:
        assert response["error"] == {"code": error["code"], "message": error["message"]}
    assert (response["status"] == "completed") == (response["completed_at"] is not None)
