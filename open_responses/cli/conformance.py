"""`open_responses conformance URL`: clauses of the Open Responses specification (2026-04-24), tried against a server.

Any server: nothing but HTTP is used, and only what the specification says is expected. A clause that needs something of
the model (a tool call, a second turn) asks for little, so that a small model passes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from open_responses.cli.http import CommandFailed, Server
from open_responses.cli.tables import print_json, print_table

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


class Unmet(Exception):
    """A clause that the server does not meet; the text says what it did instead."""


@dataclass
class Probe:
    """The server, the model, and the answers that several clauses look at."""

    server: Server
    model: str

    def create(self, **body: object) -> Any:
        """A response, as JSON."""
        return self.server.send("POST", "/v1/responses", {"model": self.model, "input": "Say hello.", **body})

    @cached_property
    def response(self) -> Any:
        """A response of this model."""
        return self.create()

    @cached_property
    def stream(self) -> Streamed:
        """A streamed response."""
        body = {"model": self.model, "input": "Count from one to five.", "stream": True}
        with self.server.open("POST", "/v1/responses", body, Accept="text/event-stream") as answer:
            media = str(getattr(answer, "headers", {}).get("content-type", ""))
            return Streamed(media, answer.read().decode())

    def refused(self, method: str, path: str, body: object = None) -> CommandFailed:
        """The error of a request that has to fail. Raises Unmet for one that does not."""
        try:
            self.server.send(method, path, body)
        except CommandFailed as error:
            if error.status == 0:
                raise
            return error
        raise Unmet(f"{method} {path} was accepted")


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
    check: Callable[[Probe], None]


def run(args: argparse.Namespace) -> int:
    """Try every clause. Returns 1 if one is not met."""
    server = Server.at(args.url.removesuffix("/").removesuffix("/v1"), args.key)
    probe = Probe(server, args.model or _first_model(server))
    results = [(clause, _outcome(clause, probe)) for clause in CLAUSES]
    met = sum(problem is None for _, problem in results)
    if args.json:
        clauses = [{"id": c.id, "says": c.says, "ok": p is None, "problem": p} for c, p in results]
        print_json({"url": server.url, "model": probe.model, "met": met, "of": len(results), "clauses": clauses})
    else:
        rows = [(c.id, "met" if p is None else "NOT MET", c.says, p or "") for c, p in results]
        print_table(("clause", "", "says", "problem"), rows)
        print(f"\n{met} of {len(results)} clauses are met by {server.url} with the model {probe.model}.")
    return int(met < len(results))


def _first_model(server: Server) -> str:
    models = server.get("/v1/models")["data"]
    if not models:
        raise CommandFailed(f"{server.url} lists no model: name one with --model")
    first: str = models[0]["id"]
    return first


def _outcome(clause: Clause, probe: Probe) -> str | None:
    try:
        clause.check(probe)
    except Unmet as problem:
        return str(problem)
    except CommandFailed as error:
        return f"refused: {error}"
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        # Not the shape that the specification gives it.
        return f"malformed: {type(error).__name__}: {error}"
    return None


def _expect(condition: object, otherwise: str) -> None:
    if not condition:
        raise Unmet(otherwise)


# --- the clauses


def _http_1(probe: Probe) -> None:
    refused = probe.refused("POST", "/v1/responses", "not an object")
    _expect(refused.status == 400, f"a body that is no object gets {refused.status}, not 400")


def _http_3(probe: Probe) -> None:
    refused = probe.refused("POST", "/v1/responses", {"input": "no model"})
    _expect(refused.status == 400, f"a request without a model gets {refused.status}, not 400")
    items = [{"type": "message", "role": "user", "content": "Say hello."}]
    _expect(probe.create(input=items)["object"] == "response", "an array of items is not accepted")


def _resource(probe: Probe) -> None:
    missing = [name for name in _MEMBERS if name not in probe.response]
    _expect(not missing, f"the response has no {', '.join(missing)}")
    _expect(probe.response["object"] == "response", f"object is {probe.response['object']!r}")
    _expect(probe.response["status"] in ("completed", "incomplete"), f"status is {probe.response['status']!r}")


def _usage(probe: Probe) -> None:
    usage = probe.response["usage"]
    total = usage["input_tokens"] + usage["output_tokens"]
    _expect(usage["total_tokens"] == total, f"total_tokens is {usage['total_tokens']}, not {total}")


def _sse_1(probe: Probe) -> None:
    media = probe.stream.media
    _expect(media.startswith("text/event-stream"), f"content-type is {media!r}")
    _expect(probe.stream.data[-1] == "[DONE]", f"the last data is {probe.stream.data[-1][:80]!r}, not [DONE]")
    _expect(len(probe.stream.events) == len(probe.stream.data) - 1, "[DONE] comes more than once")


def _sse_2(probe: Probe) -> None:
    types = [event["type"] for event in probe.stream.events]
    _expect(probe.stream.names == types, "event: differs from the type of its data, or is missing")


def _sse_3(probe: Probe) -> None:
    numbers = [event["sequence_number"] for event in probe.stream.events]
    _expect(numbers == list(range(len(numbers))), f"sequence numbers are {numbers[:10]}…")


def _one_end(probe: Probe) -> None:
    ends = [event["type"] for event in probe.stream.of(*_ENDS)]
    _expect(len(ends) == 1, f"terminal events: {', '.join(ends) or 'none'}")
    _expect(probe.stream.events[-1]["type"] in _ENDS, f"the last event is {probe.stream.events[-1]['type']}")


def _openings(probe: Probe) -> None:
    first = [event["type"] for event in probe.stream.events[:2]]
    _expect(first == ["response.created", "response.in_progress"], f"the first events are {', '.join(first)}")


def _item_1(probe: Probe) -> None:
    for item in probe.response["output"]:
        _expect(item["id"] and item["type"] and item["status"], f"an item lacks id, type or status: {item}")


def _item_4(probe: Probe) -> None:
    added = [event["output_index"] for event in probe.stream.of("response.output_item.added")]
    done = [event["output_index"] for event in probe.stream.of("response.output_item.done")]
    _expect(sorted(added) == sorted(done), f"items added: {added}, done: {done}")
    _expect(len(set(added)) == len(added), f"an item is added twice: {added}")


def _item_5(probe: Probe) -> None:
    texts: dict[tuple[int, int], str] = {}
    for event in probe.stream.of("response.output_text.delta"):
        place = event["output_index"], event["content_index"]
        texts[place] = texts.get(place, "") + event["delta"]
    _expect(texts, "no response.output_text.delta")
    for event in probe.stream.of("response.output_text.done"):
        said = texts.get((event["output_index"], event["content_index"]), "")
        _expect(said == event["text"], "the deltas do not add up to the text of response.output_text.done")
    output = probe.stream.events[-1]["response"]["output"]
    for (index, part), said in texts.items():
        _expect(output[index]["content"][part]["text"] == said, "the deltas do not add up to the text of the response")


def _item_6(probe: Probe) -> None:
    ids: dict[int, set[str]] = {}
    for event in probe.stream.events:
        if "output_index" in event:
            found = event.get("item_id") or event.get("item", {}).get("id")
            ids.setdefault(event["output_index"], set()).add(found)
    for index, item in enumerate(probe.stream.events[-1]["response"]["output"]):
        _expect(ids.get(index) == {item["id"]}, f"item {index} has the ids {ids.get(index)}")


def _err_1(probe: Probe) -> None:
    body = {"model": probe.model, "input": "x", "temperature": "hot"}
    refused = probe.refused("POST", "/v1/responses", body)
    _expect(refused.status == 400, f"a temperature that is a text gets {refused.status}, not 400")
    _expect(refused.members == {"message", "type", "param", "code"}, f"the error has {sorted(refused.members)}")


def _req_1(probe: Probe) -> None:
    after = probe.create(previous_response_id=probe.response["id"], input="And again.")
    _expect(after["previous_response_id"] == probe.response["id"], "previous_response_id is not echoed")


def _req_1_unknown(probe: Probe) -> None:
    body = {"model": probe.model, "input": "x", "previous_response_id": _UNKNOWN}
    refused = probe.refused("POST", "/v1/responses", body)
    _expect(refused.status in (400, 404), f"an unknown previous_response_id gets {refused.status}")


def _req_4(probe: Probe) -> None:
    cut = probe.create(input="Count from one to two hundred, in words.", max_output_tokens=16)
    _expect(cut["status"] == "incomplete", f"status is {cut['status']!r} where 16 tokens cannot hold the answer")
    reason = cut["incomplete_details"]["reason"]
    _expect(reason == "max_output_tokens", f"the reason is {reason!r}")


def _req_9(probe: Probe) -> None:
    kept = probe.create(store=False)
    refused = probe.refused("GET", f"/v1/responses/{kept['id']}")
    _expect(refused.status == 404, f"a response with store: false gets {refused.status}, not 404")


def _retrieve(probe: Probe) -> None:
    again = probe.server.get(f"/v1/responses/{probe.response['id']}")
    _expect(again == probe.response, "GET returns another response than POST did")
    refused = probe.refused("GET", f"/v1/responses/{_UNKNOWN}")
    _expect(refused.status == 404, f"an unknown id gets {refused.status}, not 404")


def _input_items(probe: Probe) -> None:
    listed = probe.server.get(f"/v1/responses/{probe.response['id']}/input_items")
    _expect(listed["object"] == "list" and len(listed["data"]) == 1, "the list does not have the one message")


def _delete(probe: Probe) -> None:
    made = probe.create()
    deleted = probe.server.send("DELETE", f"/v1/responses/{made['id']}")
    _expect(deleted["deleted"] is True, f"deleted is {deleted['deleted']!r}")
    _expect(probe.refused("GET", f"/v1/responses/{made['id']}").status == 404, "it can still be read")


def _tools(probe: Probe) -> None:
    tool = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
    made = probe.create(input="Say hello.", tools=[tool], tool_choice="none")
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
