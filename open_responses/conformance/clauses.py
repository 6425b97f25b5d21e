"""Clauses of the Open Responses specification (2026-04-24), tried against a server.

Any server: nothing but HTTP is used, and only what the specification says is expected. A clause that needs something of
the model (a tool call, a second turn) asks for little, so that a small model passes. The command line and the console
try the same clauses, each over a connection of its own.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

_ENDS = ("response.completed", "response.incomplete", "response.failed")
_UNKNOWN = "resp_" + "0" * 48
_MEMBERS = (
    "id",
    "object",
    "created_at",
    "status",
    "model",
    "output",
    "error",
    "usage",
    "tools",
    "tool_choice",
    "metadata",
)
_SHOWN_CHARACTERS = 200


class Unmet(Exception):
    """A clause that the server does not meet; the text says what it did instead."""


class NoAnswer(Exception):
    """The server did not answer; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the server. `media` is its content type, or empty."""

    status: int
    media: str
    text: str

    @property
    def error(self) -> Mapping[str, object]:
        """The error object; empty where there is none, for instance on a proxy's own page."""
        try:
            error = json.loads(self.text)["error"]
        except (ValueError, KeyError, TypeError):
            return {}
        return error if isinstance(error, dict) else {}


Ask: TypeAlias = Callable[[str, str, object], Awaitable[Answer]]
"""Sends a request: method, path, and the body's JSON or None. Raises NoAnswer."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The status of a refused request, and the members of its error object."""

    status: int
    members: frozenset[str]


@dataclass
class Probe:
    """The server, the model, and the answers that several clauses look at.

    `max_output_tokens` bounds the answers that a clause does not bound itself; None for the server's own bound.
    """

    ask: Ask
    model: str
    max_output_tokens: int | None = None
    _kept: dict[str, Any] = field(default_factory=dict)

    async def send(self, method: str, path: str, body: object = None) -> Any:
        """The JSON of the answer. Raises Unmet for one that is not 2xx."""
        return json.loads((await self._accepted(method, path, body)).text)

    async def read(self, path: str) -> Any:
        """The JSON at a path."""
        return await self.send("GET", path)

    async def create(self, **body: object) -> Any:
        """A response, as JSON."""
        return await self.send("POST", "/v1/responses", self._body("Say hello.", body))

    async def response(self) -> Any:
        """A response of this model."""
        if "response" not in self._kept:
            self._kept["response"] = await self.create()
        return self._kept["response"]

    async def stream(self) -> Streamed:
        """A streamed response."""
        if "stream" not in self._kept:
            body = self._body("Count from one to five.", {"stream": True})
            answer = await self._accepted("POST", "/v1/responses", body)
            self._kept["stream"] = Streamed(answer.media, answer.text)
        streamed: Streamed = self._kept["stream"]
        return streamed

    async def refused(self, method: str, path: str, body: object = None) -> Refusal:
        """The refusal of a request that has to fail. Raises Unmet for one that does not."""
        answer = await self.ask(method, path, body)
        if 200 <= answer.status < 300:
            raise Unmet(f"{method} {path} was accepted")
        return Refusal(answer.status, frozenset(answer.error))

    async def _accepted(self, method: str, path: str, body: object) -> Answer:
        answer = await self.ask(method, path, body)
        if not 200 <= answer.status < 300:
            message = answer.error.get("message") or answer.text
            raise Unmet(f"refused: {str(message)[:_SHOWN_CHARACTERS]} ({answer.status})")
        return answer

    def _body(self, prompt: str, body: dict[str, object]) -> dict[str, object]:
        bound = {} if self.max_output_tokens is None else {"max_output_tokens": self.max_output_tokens}
        return {"model": self.model, "input": prompt, **bound, **body}


class Streamed:
    """The lines of a stream, as names and data."""

    def __init__(self, media: str, text: str) -> None:
        self.media = media
        self.names: list[str] = []
        self.data: list[str] = []
        for line in text.splitlines():
            if line.startswith("event:"):
                self.names.append(line[6:].strip())
            elif line.startswith("data:"):
                self.data.append(line[5:].strip())

    @cached_property
    def events(self) -> list[Any]:
        """All of them, in order. Raises ValueError for data that is no JSON."""
        return [json.loads(one) for one in self.data if one != "[DONE]"]

    def of(self, *types: str) -> list[Any]:
        """Those of these types."""
        return [event for event in self.events if event["type"] in types]


@dataclass(frozen=True, slots=True)
class Clause:
    """A clause of the specification, and its check, which raises Unmet."""

    id: str
    says: str
    check: Callable[[Probe], Awaitable[None]]

    async def problem(self, probe: Probe) -> str | None:
        """What the server does instead; None if it meets the clause."""
        try:
            await self.check(probe)
        except (Unmet, NoAnswer) as problem:
            return str(problem)
        except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
            # Not the shape that the specification gives it.
            return f"malformed: {type(error).__name__}: {error}"
        return None


def _expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise Unmet(otherwise)


# --- the clauses


async def _http_1(probe: Probe) -> None:
    refused = await probe.refused("POST", "/v1/responses", "not an object")
    _expect(refused.status == 400, f"a body that is no object gets {refused.status}, not 400")


async def _http_3(probe: Probe) -> None:
    refused = await probe.refused("POST", "/v1/responses", {"input": "no model"})
    _expect(refused.status == 400, f"a request without a model gets {refused.status}, not 400")
    items = [{"type": "message", "role": "user", "content": "Say hello."}]
    _expect((await probe.create(input=items))["object"] == "response", "an array of items is not accepted")


async def _resource(probe: Probe) -> None:
    response = await probe.response()
    missing = [name for name in _MEMBERS if name not in response]
    _expect(not missing, f"the response has no {', '.join(missing)}")
    _expect(response["object"] == "response", f"object is {response['object']!r}")
    _expect(response["status"] in ("completed", "incomplete"), f"status is {response['status']!r}")


async def _usage(probe: Probe) -> None:
    response = await probe.response()
    usage = response["usage"]
    total = usage["input_tokens"] + usage["output_tokens"]
    _expect(usage["total_tokens"] == total, f"total_tokens is {usage['total_tokens']}, not {total}")


async def _sse_1(probe: Probe) -> None:
    stream = await probe.stream()
    media = stream.media
    _expect(media.startswith("text/event-stream"), f"content-type is {media!r}")
    _expect(stream.data[-1] == "[DONE]", f"the last data is {stream.data[-1][:80]!r}, not [DONE]")
    _expect(len(stream.events) == len(stream.data) - 1, "[DONE] comes more than once")


async def _sse_2(probe: Probe) -> None:
    stream = await probe.stream()
    types = [event["type"] for event in stream.events]
    _expect(stream.names == types, "event: differs from the type of its data, or is missing")


async def _sse_3(probe: Probe) -> None:
    stream = await probe.stream()
    numbers = [event["sequence_number"] for event in stream.events]
    _expect(numbers == list(range(len(numbers))), f"sequence numbers are {numbers[:10]}…")


async def _one_end(probe: Probe) -> None:
    stream = await probe.stream()
    ends = [event["type"] for event in stream.of(*_ENDS)]
    _expect(len(ends) == 1, f"terminal events: {', '.join(ends) or 'none'}")
    _expect(stream.events[-1]["type"] in _ENDS, f"the last event is {stream.events[-1]['type']}")


async def _openings(probe: Probe) -> None:
    stream = await probe.stream()
    first = [event["type"] for event in stream.events[:2]]
    _expect(first == ["response.created", "response.in_progress"], f"the first events are {', '.join(first)}")


async def _item_1(probe: Probe) -> None:
    response = await probe.response()
    for item in response["output"]:
        _expect(item["id"] and item["type"] and item["status"], f"an item lacks id, type or status: {item}")


async def _item_4(probe: Probe) -> None:
    stream = await probe.stream()
    added = [event["output_index"] for event in stream.of("response.output_item.added")]
    done = [event["output_index"] for event in stream.of("response.output_item.done")]
    _expect(sorted(added) == sorted(done), f"items added: {added}, done: {done}")
    _expect(len(set(added)) == len(added), f"an item is added twice: {added}")


async def _item_5(probe: Probe) -> None:
    stream = await probe.stream()
    texts: dict[tuple[int, int], str] = {}
    for event in stream.of("response.output_text.delta"):
        place = event["output_index"], event["content_index"]
        texts[place] = texts.get(place, "") + event["delta"]
    _expect(texts, "no response.output_text.delta")
    for event in stream.of("response.output_text.done"):
        said = texts.get((event["output_index"], event["content_index"]), "")
        _expect(said == event["text"], "the deltas do not add up to the text of response.output_text.done")
    output = stream.events[-1]["response"]["output"]
    for (index, part), said in texts.items():
        _expect(output[index]["content"][part]["text"] == said, "the deltas do not add up to the text of the response")


async def _item_6(probe: Probe) -> None:
    stream = await probe.stream()
    ids: dict[int, set[str]] = {}
    for event in stream.events:
        if "output_index" in event:
            found = event.get("item_id") or event.get("item", {}).get("id")
            ids.setdefault(event["output_index"], set()).add(found)
    for index, item in enumerate(stream.events[-1]["response"]["output"]):
        _expect(ids.get(index) == {item["id"]}, f"item {index} has the ids {ids.get(index)}")


async def _err_1(probe: Probe) -> None:
    body = {"model": probe.model, "input": "x", "temperature": "hot"}
    refused = await probe.refused("POST", "/v1/responses", body)
    _expect(refused.status == 400, f"a temperature that is a text gets {refused.status}, not 400")
    _expect(refused.members == {"message", "type", "param", "code"}, f"the error has {sorted(refused.members)}")


async def _req_1(probe: Probe) -> None:
    response = await probe.response()
    after = await probe.create(previous_response_id=response["id"], input="And again.")
    _expect(after["previous_response_id"] == response["id"], "previous_response_id is not echoed")


async def _req_1_unknown(probe: Probe) -> None:
    body = {"model": probe.model, "input": "x", "previous_response_id": _UNKNOWN}
    refused = await probe.refused("POST", "/v1/responses", body)
    _expect(refused.status in (400, 404), f"an unknown previous_response_id gets {refused.status}")


async def _req_4(probe: Probe) -> None:
    cut = await probe.create(input="Count from one to two hundred, in words.", max_output_tokens=16)
    _expect(cut["status"] == "incomplete", f"status is {cut['status']!r} where 16 tokens cannot hold the answer")
    reason = cut["incomplete_details"]["reason"]
    _expect(reason == "max_output_tokens", f"the reason is {reason!r}")


async def _req_9(probe: Probe) -> None:
    kept = await probe.create(store=False)
    refused = await probe.refused("GET", f"/v1/responses/{kept['id']}")
    _expect(refused.status == 404, f"a response with store: false gets {refused.status}, not 404")


async def _retrieve(probe: Probe) -> None:
    response = await probe.response()
    again = await probe.read(f"/v1/responses/{response['id']}")
    _expect(again == response, "GET returns another response than POST did")
    refused = await probe.refused("GET", f"/v1/responses/{_UNKNOWN}")
    _expect(refused.status == 404, f"an unknown id gets {refused.status}, not 404")


async def _input_items(probe: Probe) -> None:
    response = await probe.response()
    listed = await probe.read(f"/v1/responses/{response['id']}/input_items")
    _expect(listed["object"] == "list" and len(listed["data"]) == 1, "the list does not have the one message")


async def _delete(probe: Probe) -> None:
    made = await probe.create()
    deleted = await probe.send("DELETE", f"/v1/responses/{made['id']}")
    _expect(deleted["deleted"] is True, f"deleted is {deleted['deleted']!r}")
    _expect((await probe.refused("GET", f"/v1/responses/{made['id']}")).status == 404, "it can still be read")


async def _tools(probe: Probe) -> None:
    tool = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
    made = await probe.create(input="Say hello.", tools=[tool], tool_choice="none")
    _expect([one["name"] for one in made["tools"]] == ["get_time"], "tools are not echoed")
    called = [item for item in made["output"] if item["type"] == "function_call"]
    _expect(not called, "a function was called in spite of tool_choice: none")


CLAUSES: Sequence[Clause] = (
    Clause("HTTP-1", "a body that is no JSON object gets a 400", _http_1),
    Clause("HTTP-3", "input is a string or items, and model is required", _http_3),
    Clause("RES-1", "the response has its members", _resource),
    Clause("RES-2", "usage adds up", _usage),
    Clause("SSE-1", "a stream is text/event-stream, and ends with [DONE]", _sse_1),
    Clause("SSE-2", "event: equals the type", _sse_2),
    Clause("SSE-3", "sequence_number rises by one from 0", _sse_3),
    Clause("ERR-1", "errors have message, type, param and code", _err_1),
    Clause("ERR-2", "exactly one terminal event, and the last", _one_end),
    Clause("ITEM-1", "every item has id, type and status", _item_1),
    Clause("ITEM-3", "a stream opens with created and in_progress", _openings),
    Clause("ITEM-4", "each item is added and done once", _item_4),
    Clause("ITEM-5", "deltas add up to the text", _item_5),
    Clause("ITEM-6", "an item keeps its id and index", _item_6),
    Clause("REQ-1", "previous_response_id continues a response", _req_1),
    Clause("REQ-1", "an unknown previous_response_id is an error", _req_1_unknown),
    Clause("REQ-2", "tool_choice none is kept", _tools),
    Clause("REQ-4", "max_output_tokens ends as incomplete", _req_4),
    Clause("REQ-9", "store: false leaves nothing to read", _req_9),
    Clause("GET", "a stored response is read again as it was", _retrieve),
    Clause("GET", "input items are listed", _input_items),
    Clause("DELETE", "a deleted response is gone", _delete),
)
