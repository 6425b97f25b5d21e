"""Converts items to the turns of a chat, from which the chat adapters (`openai_chat`, `ollama`) write messages.

What this prevents: a request that one server accepts and another rejects. Chat templates and APIs differ most in the
order of messages that they accept, so the turns have the one form that all of them accept:

- leading system and developer messages are one system text; one in the middle is a turn in its place;
- consecutive messages of one role are one turn, since templates demand that user and assistant alternate;
- outputs belong to the turn with their calls, wherever they stood, and what is not text in them is kept apart: a `tool`
  message holds text;
- reasoning goes with the turn that it led to, if this provider made it, or it has no seal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from activities.providers.shared.content_parts import Part, text_of
from activities.providers.shared.foreign_items import leave_out
from activities.providers.shared.json_objects import arguments_object, arguments_text, as_object, object_in
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from open_responses.schema.items import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    Reasoning,
    SystemMessage,
    UserMessage,
)


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a content, and its path in the request, for errors."""

    part: Part
    path: str


Content: TypeAlias = str | list[Piece]
"""A single text is a string. Nearly all contents of a long conversation are, and a request waits until all are read."""


@dataclass(frozen=True, slots=True)
class Thought:
    """Reasoning that goes back to its provider. `seal` is the data that the adapter stored with it, or empty."""

    text: str
    seal: JsonObject


@dataclass(frozen=True, slots=True)
class Call:
    """`written` are the arguments as the model wrote them, `signed` the members that its adapter sealed with it."""

    call_id: str
    name: str
    written: str
    signed: JsonObject = field(default_factory=dict)

    @property
    def as_object(self) -> JsonObject:
        return arguments_object(self.written)

    @property
    def as_text(self) -> str:
        """Return the arguments as written, if they are a JSON object, because servers parse them."""
        return arguments_text(self.written)


@dataclass(frozen=True, slots=True)
class Output:
    """The output of a call: its text, and its other parts."""

    call: Call
    text: str
    attached: list[Piece]

    @property
    def told(self) -> str:
        """Return the text of the tool's own message."""
        return self.text if self.text or not self.attached else "The output is in the next user message."


@dataclass(slots=True)
class Turn:
    """Consecutive messages of one role; an assistant's with its calls and, behind these, their outputs."""

    role: Literal["user", "assistant", "system"]
    contents: list[Content] = field(default_factory=list)
    thoughts: list[Thought] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All texts, messages with an empty line between them."""
        return "\n\n".join([text for content in self.contents if (text := _text_in(content))])

    @property
    def pieces(self) -> list[Piece]:
        """Return all contents that are not a single text."""
        return [piece for content in self.contents if not isinstance(content, str) for piece in content]


@dataclass(slots=True)
class Conversation:
    """`system` are the texts before the first turn."""

    system: list[str] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)


def read_conversation(call: SampleCall, provider: str) -> Conversation:
    """Return the turns, with the unfinished answer (`prefix`) last. Raises InvalidRequest for an item without a form in
    a chat.

    `provider` is the name in the configuration: only reasoning that it made, or that has no seal, is kept.
    """
    reader = _TurnReader(provider)
    for index, item in enumerate(call.items):
        reader.add(item, index)
    if call.prefix:
        reader.say(call.prefix)
    return reader.conversation


class _TurnReader:
    def __init__(self, provider: str) -> None:
        self.conversation = Conversation()
        self._provider = provider
        self._turns = self.conversation.turns
        self._pending: list[Thought] = []
        self._calls: dict[str, tuple[Call, Turn]] = {}
        self._signatures: list[JsonObject] = []

    def add(self, item: InputItem, index: int) -> None:
        if not isinstance(item, FunctionCall | Reasoning):
            self._signatures.clear()
        match item:
            case UserMessage():
                self._turn("user").contents.append(_content(item.content, index, "content"))
            case AssistantMessage():
                self._assistant().contents.append(_content(item.content, index, "content"))
            case SystemMessage() | DeveloperMessage():
                self._instruct(_content(item.content, index, "content"))
            case FunctionCall():
                self._call(item)
            case FunctionCallOutput():
                self._output(item, _content(item.output, index, "output"))
            case Reasoning():
                self._think(item)
            case _:
                leave_out(item, index, self._provider)

    def say(self, text: str) -> None:
        self._assistant().contents.append(text)

    def _turn(self, role: Literal["user", "assistant", "system"]) -> Turn:
        last = self._turns[-1] if self._turns else None
        if last is not None and last.role == role and not last.outputs:
            return last
        if role != "assistant":
            self._settle()
        self._turns.append(Turn(role))
        return self._turns[-1]

    def _assistant(self) -> Turn:
        turn = self._turn("assistant")
        turn.thoughts += self._pending
        self._pending.clear()
        return turn

    def _settle(self) -> None:
        """Add reasoning after the last text of a turn to that turn. Without a turn, it is of an answer that was lost,
        and is dropped."""
        if self._turns and self._turns[-1].role == "assistant" and not self._turns[-1].outputs:
            self._turns[-1].thoughts += self._pending
        self._pending.clear()

    def _instruct(self, content: Content) -> None:
        if self._turns:
            self._turn("system").contents.append(content)
        else:
            self.conversation.system.append(_text_in(content))

    def _call(self, item: FunctionCall) -> None:
        turn = self._assistant()
        call = Call(item.call_id, item.name, item.arguments, self._signature_of(item))
        turn.calls.append(call)
        self._calls[item.call_id] = (call, turn)

    def _signature_of(self, item: FunctionCall) -> JsonObject:
        """Return what the adapter sealed of this call. The id of the call may have been replaced since: then it is the
        seal before the call."""
        same = [seal for seal in self._signatures if seal.get("call_id") == item.call_id]
        seal = next(iter([*same, *self._signatures]), None)
        if seal is None:
            return {}
        self._signatures.remove(seal)
        return as_object(seal.get("call"))

    def _output(self, item: FunctionCallOutput, content: Content) -> None:
        self._settle()
        if item.call_id not in self._calls:
            self._turn("user").contents.append(content)
            return
        call, turn = self._calls[item.call_id]
        attached = [] if isinstance(content, str) else [piece for piece in content if text_of(piece.part) is None]
        turn.outputs.append(Output(call, _text_in(content), attached))

    def _think(self, item: Reasoning) -> None:
        kept = sealed_reasoning.content_for(self._provider, item.encrypted_content)
        if kept is None and item.encrypted_content is not None:
            return
        seal = object_in(kept) or {}
        if "call" in seal:
            self._sign(seal)
            return
        text = "".join(part.text for part in item.content or [])
        if text or seal:
            self._pending.append(Thought(text, seal))

    def _sign(self, seal: JsonObject) -> None:
        """Keep a signature for the call behind it; it may also come behind its call."""
        known = self._calls.get(str(seal.get("call_id")))
        if known is not None and known[1] is self._turns[-1] and not known[1].outputs:
            known[0].signed.update(as_object(seal.get("call")))
        else:
            self._signatures.append(seal)


def _content(content: str | Sequence[Part], index: int, member: str) -> Content:
    if isinstance(content, str):
        return content
    if len(content) == 1 and (text := text_of(content[0])) is not None:
        return text
    path = f"input[{index}].{member}"
    return [Piece(part, f"{path}[{number}]") for number, part in enumerate(content)]


def _text_in(content: Content) -> str:
    return content if isinstance(content, str) else "".join([text_of(piece.part) or "" for piece in content])


def origin_of(output: Output, call_id: str) -> str:
    """Return the line that precedes the parts which the tool's own message cannot contain."""
    return f"From the output of {output.call.name} (call {call_id}):"
