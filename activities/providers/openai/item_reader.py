"""The items of OpenAI's answer as deltas: their texts, their calls, and the parts of both.

Items are told apart by `output_index`: their ids may change from event to event
(`github-copilot-id-rotation.1.chunks.txt` of vercel/ai, `packages/openai/src/responses/__fixtures__`).
"""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import ValidationError

from activities.providers.openai.built_in_calls import BUILT_IN_CALLS, BUILT_IN_PROGRESS, BuiltInCalls
from activities.providers.openai.reasoning import seal_of
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.logprobs import logprobs_of
from open_responses.deltas import (
    Delta,
    ItemEnd,
    Phase,
    ProviderItem,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from open_responses.schema.items import INPUT_ITEMS, OUTPUT_TYPE_OF, OUTPUT_TYPES, PROVIDER_ITEM_TYPES

_Position: TypeAlias = tuple[int, str, int]
"""(output index, kind of part, index of the part)."""

# Calls that come in pieces, and members of theirs that must go back with them.
_CALLS = ("function_call", "custom_tool_call")
_MEMBERS_OF_CALLS = ("caller", "async")
# Items that come whole: of OpenAI's built-in tools, and the calls of other tools of the client.
_WHOLE_ITEMS = (PROVIDER_ITEM_TYPES["openai"] | OUTPUT_TYPE_OF.keys() | OUTPUT_TYPES) - {*_CALLS}
_PIECES = {
    "response.custom_tool_call_input.delta": "arguments",
    "response.function_call_arguments.delta": "arguments",
    "response.output_text.delta": "output_text",
    # The Open Responses specification's name for the raw text of reasoning, and OpenAI's.
    "response.reasoning.delta": "reasoning_text",
    "response.reasoning_summary_text.delta": "summary_text",
    "response.reasoning_text.delta": "reasoning_text",
    "response.refusal.delta": "refusal",
}
_WHOLE = {kind.replace(".delta", ".done"): part for kind, part in _PIECES.items()}
# The lengths of the answer's texts and arguments, in characters.
_COUNTED = frozenset(_PIECES.values())
_MEMBER = {"arguments": "arguments", "refusal": "refusal"}


class ItemReader:
    """Makes deltas of items, and knows which of their texts were passed on.

    Texts and arguments come in pieces, again in the event that ends a part, and once more in the item and the response.
    `_sent` counts the characters of each that were passed on, so that missing pieces are added, and none is doubled.

    Args:
        provider: The provider's name, which marks its encrypted reasoning.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._sent: dict[_Position, int] = {}
        self._phases: dict[int, Phase] = {}
        self._calls: set[int] = set()
        self._nameless: dict[int, list[str]] = {}
        self._call_ids: dict[int, str] = {}
        self._whole_items: set[int] = set()
        self._built_in = BuiltInCalls()
        self._has_client_calls = False
        self._text_at: tuple[int, int] | None = None
        self.left_out = 0

    @property
    def has_sent(self) -> bool:
        """Whether anything of the answer was passed on."""
        return bool(self._sent)

    @property
    def has_function_calls(self) -> bool:
        """Whether the answer has calls that come in pieces, with a name or without."""
        return bool(self._calls or self._nameless)

    @property
    def has_calls(self) -> bool:
        """Whether the client or this server has to run a call of the answer."""
        return self.has_function_calls or self._has_client_calls

    @property
    def characters(self) -> int:
        """The length of the texts and arguments that were passed on."""
        return sum(sent for (_, kind, _), sent in self._sent.items() if kind in _COUNTED)

    def nameless_calls(self) -> list[Delta]:
        """Return the calls whose names never came."""
        return [ToolCallDelta(index, "".join(pieces)) for index, pieces in self._nameless.items()]

    def read(self, kind: str, event: JsonObject) -> list[Delta] | None:
        """Return the deltas of an event of an item; None for an event of the response."""
        if kind in BUILT_IN_PROGRESS:
            return self._built_in.progress(_index(event), kind, event)
        if kind in _PIECES:
            return self._more(_position(event, _PIECES[kind]), event)
        if kind in _WHOLE:
            return self._whole(_position(event, _WHOLE[kind]), event)
        match kind:
            case "response.output_item.added":
                return self._added(_index(event), as_object(event.get("item")))
            case "response.output_item.done":
                return self._item(_index(event), as_object(event.get("item")))
            case "response.content_part.done":
                part = as_object(event.get("part"))
                return self._part(_position(event, str(part.get("type"))), part)
            case "response.output_text.annotation.added":
                return self._annotation(_position(event, "annotations"), event.get("annotation"))
        return None

    def rest_of(self, output: object) -> list[Delta]:
        """Return what was not passed on of the items of a whole response.

        Nearly always nothing: servers that send the events of an item have sent all of it.
        """
        items = [as_object(item) for item in (output if isinstance(output, list) else [])]
        if not self._sent and not self._calls:
            return [delta for index, item in enumerate(items) for delta in self._item(index, item)]
        return [delta for index, item in enumerate(items) for delta in self._late(index, item)]

    def _late(self, index: int, item: JsonObject) -> list[Delta]:
        """The rest of an item whose end had no event; all of one that had none at all.

        Reasoning is left out, since it stands before what was passed on; so is a message beside one that was passed on
        under another index.
        """
        kind = item.get("type")
        if index in self._whole_items or kind == "reasoning":
            return []
        if kind in _CALLS:
            if index not in self._calls and index not in self._nameless:
                index = self._index_of(item)
            return self._call(index, item)
        if kind == "message" and self._text_at is not None and (index, "output_text", 0) not in self._sent:
            return []
        return self._item(index, item)

    def _index_of(self, call: JsonObject) -> int:
        """The index under which a call was passed on, or that of the one without a name that has its arguments; a new
        one for a call that is new."""
        known = [index for index, call_id in self._call_ids.items() if call_id and call_id == call.get("call_id")]
        written = call.get("input" if call.get("type") == "custom_tool_call" else "arguments")
        same = [index for index, pieces in self._nameless.items() if "".join(pieces) == written]
        return next(iter([*known, *same]), max([*self._call_ids, *self._nameless, -1]) + 1)

    def _added(self, index: int, item: JsonObject) -> list[Delta]:
        if item.get("phase") in ("commentary", "final_answer"):
            self._phases[index] = item["phase"]
        if item.get("type") in BUILT_IN_CALLS:
            return self._built_in.start(index, item)
        return self._call(index, item) if item.get("type") in _CALLS else []

    def _item(self, index: int, item: JsonObject) -> list[Delta]:
        """Return the missing deltas of a complete item, and its end."""
        self._whole_items.add(index)
        kind = item.get("type")
        if kind == "message":
            return self._message(index, item)
        if kind == "reasoning":
            return self._reasoning(index, item)
        if kind in _CALLS:
            return self._call(index, item)
        if kind not in _WHOLE_ITEMS or not _can_be_read_again(item):
            self.left_out += 1
            return []
        self._sent[index, "item", 0] = 1
        if kind in OUTPUT_TYPE_OF and item.get("call_id"):
            self._has_client_calls = True
        return [ProviderItem(item, self._built_in.key_of(index))]

    def _message(self, index: int, item: JsonObject) -> list[Delta]:
        deltas = self._added(index, item) + self._parts(index, item.get("content"))
        if not any(self._sent.get((index, kind, 0)) for kind in ("output_text", "refusal")):
            deltas += self._text((index, "output_text", 0), "")
        return deltas + _end(item)

    def _reasoning(self, index: int, item: JsonObject) -> list[Delta]:
        deltas = self._parts(index, item.get("summary")) + self._parts(index, item.get("content"))
        seal = seal_of(item)
        if seal is None or item.get("status") == "incomplete":
            return deltas + _end(item)
        self._sent[index, "item", 0] = 1
        return [*deltas, ReasoningSeal(sealed_reasoning.mark(self._provider, seal))]

    def _call(self, index: int, item: JsonObject) -> list[Delta]:
        """Return the deltas of a call at its start or its end, the first time with its name."""
        is_custom = item.get("type") == "custom_tool_call"
        rest = self._rest((index, "arguments", 0), item.get("input" if is_custom else "arguments"))
        if index in self._calls:
            return [ToolCallDelta(index, rest)] if rest else []
        if not item.get("name"):
            self._nameless.setdefault(index, []).append(rest)
            return []
        held = "".join(self._nameless.pop(index, ()))
        self._calls.add(index)
        self._call_ids[index] = str(item.get("call_id") or "")
        return [
            ToolCallDelta(
                index,
                held + rest,
                item.get("call_id") or None,
                item["name"],
                namespace=item.get("namespace") or None,
                is_custom=is_custom,
                members={name: item[name] for name in _MEMBERS_OF_CALLS if item.get(name) is not None} or None,
            )
        ]

    # --- parts

    def _more(self, position: _Position, event: JsonObject) -> list[Delta]:
        text = event.get("delta")
        if not isinstance(text, str):
            return []
        self._sent[position] = self._sent.get(position, 0) + len(text)
        if position[1] == "output_text":
            given = event.get("logprobs")
            return self._text(position, text, logprobs_of(given) if given else None)
        return self._piece(position, text) if text else []

    def _whole(self, position: _Position, event: JsonObject) -> list[Delta]:
        """The event that ends a part. That of a call's arguments may be the first with the call's name."""
        index, kind, _ = position
        if kind == "arguments" and index not in self._calls:
            return self._call(index, event)
        return self._part(position, event)

    def _parts(self, index: int, parts: Any) -> list[Delta]:
        deltas: list[Delta] = []
        for number, given in enumerate(parts if isinstance(parts, list) else []):
            part = as_object(given)
            deltas += self._part((index, str(part.get("type")), number), part)
        return deltas

    def _part(self, position: _Position, part: JsonObject) -> list[Delta]:
        """Return the missing deltas of a complete part."""
        member = "input" if position[1] == "arguments" and "input" in part else _MEMBER.get(position[1], "text")
        rest = self._rest(position, part.get(member))
        deltas = self._piece(position, rest) if rest else []
        given = part.get("annotations")
        if isinstance(given, list):
            counted = (position[0], "annotations", position[2])
            for annotation in given[self._sent.get(counted, 0) :]:
                deltas += self._annotation(counted, annotation)
        return deltas

    def _annotation(self, position: _Position, annotation: Any) -> list[Delta]:
        self._sent[position] = self._sent.get(position, 0) + 1
        return [TextAnnotation(annotation)] if isinstance(annotation, dict) else []

    def _piece(self, position: _Position, text: str) -> list[Delta]:
        index, kind, number = position
        match kind:
            case "output_text":
                return self._text(position, text)
            case "arguments" if index in self._calls:
                return [ToolCallDelta(index, text)]
            case "arguments":
                self._nameless.setdefault(index, []).append(text)
            case "refusal":
                return [RefusalDelta(text)]
            case "reasoning_text":
                return [ReasoningDelta(text)]
            case "summary_text":
                return [ReasoningSummaryDelta(text, number)]
        return []

    def _text(self, position: _Position, text: str, logprobs: list[JsonObject] | None = None) -> list[Delta]:
        """Return the deltas of a text. A second text in one message becomes a second message, because positions of
        annotations count from the start of their text."""
        index, _, number = position
        delta = TextDelta(text, logprobs, self._phases.get(index))
        before, self._text_at = self._text_at, (index, number)
        if before is not None and before[0] == index and before[1] != number:
            return [ItemEnd(), delta]
        return [delta]

    def _rest(self, position: _Position, whole: Any) -> str:
        """Return the part of a complete text that was not passed on yet."""
        text = whole if isinstance(whole, str) else ""
        before = self._sent.get(position, 0)
        self._sent[position] = max(before, len(text))
        return text[before:]


def _position(event: JsonObject, kind: str) -> _Position:
    return _index(event), kind, event.get("content_index") or event.get("summary_index") or 0


def _index(event: JsonObject) -> int:
    index = event.get("output_index")
    return index if isinstance(index, int) else 0


def _can_be_read_again(item: JsonObject) -> bool:
    """Whether the next model turn can read the item: with one that it cannot, the conversation could never go on."""
    try:
        INPUT_ITEMS.validate_python([item])
    except ValidationError:
        return False
    return True


def _end(item: JsonObject) -> list[Delta]:
    """Return the end of an item, unless the item was cut off: an open item at the end of an incomplete answer is
    incomplete."""
    return [] if item.get("status") == "incomplete" else [ItemEnd()]
