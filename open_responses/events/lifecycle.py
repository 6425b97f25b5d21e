"""The first and last events of a stream, and the whole stream of a finished response."""

from __future__ import annotations

from collections.abc import Iterator

from open_responses.errors import type_of
from open_responses.events.trace import Op, count_events, replay_trace
from open_responses.json_types import JsonObject
from open_responses.schema.response import started_response


def opening_events(initial: JsonObject) -> list[JsonObject]:
    """Return `response.created`, `response.queued` for a background response, and `response.in_progress`."""
    events: list[JsonObject] = [{"type": "response.created", "response": initial}]
    if initial["status"] == "queued":
        events.append({"type": "response.queued", "response": initial})
    return [*events, {"type": "response.in_progress", "response": started_response(initial)}]


def terminal_events(response: JsonObject) -> list[JsonObject]:
    """Return the terminal event, with an `error` event before it for a failure (ERR-2).

    A cancelled response ends with `response.incomplete`.
    """
    status = response["status"]
    if status == "failed":
        error = {"type": type_of(response["error"]["code"]), **response["error"], "param": None}
        return [{"type": "error", "error": error}, {"type": "response.failed", "response": response}]
    name = "response.completed" if status == "completed" else "response.incomplete"
    return [{"type": name, "response": response}]


def whole_stream(initial: JsonObject, response: JsonObject, trace: list[Op]) -> Iterator[JsonObject]:
    """Yield every event of a finished response, byte for byte as its log had them."""
    yield from replay_trace(trace, response["output"], initial)
    first = count_events(trace)
    for offset, event in enumerate(terminal_events(response)):
        yield {"type": event.pop("type"), "sequence_number": first + offset, **event}
