"""A scripted model behind a route, in the Chat Completions format or in Anthropic's, for tests of both alike."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.scripts import script
from tests.support.vendor_scripts import Spoken, call

Json = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """One answer of the model: calls of functions, each a name and its arguments, or a text."""

    text: str = ""
    calls: Sequence[tuple[str, Json]] = ()


@dataclass(frozen=True)
class ReadCall:
    """A call and its result as a request tells the model of them."""

    name: str
    arguments: Json
    output: str


class Wire(ABC):
    """The model of one route. `model` is the route's name."""

    model: str

    @abstractmethod
    def says(self, prompt: str, *turns: Turn) -> None:
        """Answer the prompt, and then each result of the calls."""

    @abstractmethod
    def newest(self, prompt: str) -> Json:
        """The newest request that asked this prompt."""

    @abstractmethod
    def offered(self, request: Json) -> list[str]:
        """The names of the functions that a request offers."""

    @abstractmethod
    def read_calls(self, request: Json) -> list[ReadCall]:
        """The calls in a request, in order. Raises AssertionError for one without its result at the right place."""


class ChatWire(Wire):
    """The Chat Completions format."""

    def __init__(self, upstream: Upstream, model: str) -> None:
        self.model, self._upstream = model, upstream

    def says(self, prompt: str, *turns: Turn) -> None:
        made = [
            calls(*((f"call_{number}_{index}", name, given) for index, (name, given) in enumerate(turn.calls)))
            if turn.calls
            else Script(literal=turn.text)
            for number, turn in enumerate(turns)
        ]
        script(self._upstream, prompt, *made)

    def newest(self, prompt: str) -> Json:
        asked = [one for one in self._upstream.requests if self._prompt(one) == prompt]
        return asked[-1]

    def offered(self, request: Json) -> list[str]:
        return [tool["function"]["name"] for tool in request.get("tools", [])]

    def read_calls(self, request: Json) -> list[ReadCall]:
        found: list[ReadCall] = []
        waiting: dict[str, Json] = {}
        for message in request["messages"]:
            if message["role"] == "tool":
                made = waiting.pop(message["tool_call_id"])["function"]
                found.append(ReadCall(made["name"], json.loads(made["arguments"]), message["content"]))
                continue
            assert not waiting, "each call has its result before the next message"
            waiting = {one["id"]: one for one in message.get("tool_calls") or []}
        assert not waiting, "each call has a result"
        return found

    @staticmethod
    def _prompt(request: Json) -> object:
        content = [message["content"] for message in request["messages"] if message["role"] == "user"][-1]
        return content if isinstance(content, str) else content[-1].get("text")


class AnthropicWire(Wire):
    """Anthropic's Messages format."""

    def __init__(self, vendors: Vendors, model: str) -> None:
        self.model, self._vendors = model, vendors

    def says(self, prompt: str, *turns: Turn) -> None:
        first, *rest = [
            Spoken(words=0, tool_calls=[call(name, **given) for name, given in turn.calls])
            if turn.calls
            else Spoken(literal=turn.text)
            for turn in turns
        ]
        self._vendors.says(prompt, first, *rest)

    def newest(self, prompt: str) -> Json:
        return self._vendors.asked("anthropic", prompt)[-1]

    def offered(self, request: Json) -> list[str]:
        return [tool["name"] for tool in request.get("tools", [])]

    def read_calls(self, request: Json) -> list[ReadCall]:
        assert not self._vendors.refusals, "Anthropic would have refused a request"
        found: list[ReadCall] = []
        waiting: dict[str, Json] = {}
        for message in request["messages"]:
            blocks = message["content"]
            for block in blocks:
                if block["type"] == "tool_result":
                    made = waiting.pop(block["tool_use_id"])
                    found.append(ReadCall(made["name"], made["input"], _text(block["content"])))
            assert not waiting, "each call has its result in the next message"
            waiting = {block["id"]: block for block in blocks if block["type"] == "tool_use"}
        assert not waiting, "each call has a result"
        return found


def _text(content: str | list[Json]) -> str:
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)
