"""`response.steer` on a WebSocket, with OpenAI's events: messages for the response that runs.

Source: the types of OpenAI's Python SDK (openai 3.54, `types/responses/response_steer_*.py`). One thing differs: the
messages go on in the same response, and the item in its output takes the place of a successor's `response.created`
(docs/decisions/0053-steering.md). So the input of a `response.steer.pending` is in the output already.
"""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from api.responses.steer import reference
from open_responses.errors import InvalidRequest, NotFound, OpenResponsesError
from open_responses.json_types import JsonObject
from open_responses.loop import steering
from open_responses.loop.payloads.steering import Steer
from open_responses.schema.items import OUTPUT_TYPE_OF, OUTPUT_TYPES
from open_responses.schema.steering import MAX_STEER_BYTES
from open_responses.schema.validation import kind_of, read_json_object

_STEER = "response.steer"
_MEMBERS = ("previous_response_id", "input")
# OpenAI's name for what has the same or a wider meaning here. Its clients have to handle other codes as well.
_OPENAIS_CODES = {
    steering.STEERED_TOO_LATE: "response_already_completed",
    steering.NO_TURN_LEFT: "response_not_active",
    NotFound.code: "response_not_found",
}
_INVALID = "invalid_input"
_WAITS_FOR_INPUT = "waiting_for_required_input"
_UNREAD = "The response ended before its next model turn, so no model has read your message. Send it in a new request."


def steer_message(raw: bytes) -> JsonObject | None:
    """The members of a `response.steer`; None for any other message, which is checked where its turn comes."""
    if f'"{_STEER}"'.encode() not in raw:
        return None
    try:
        body = read_json_object(raw)
    except InvalidRequest:
        return None
    return body if body.pop("type", None) == _STEER else None


def steered_response(body: JsonObject, size: int) -> str:
    """The id of the response that a message names. Raises InvalidRequest for members that a steer does not have."""
    for name in body:
        if name not in _MEMBERS:
            raise InvalidRequest(
                f"'{name[:64]}' is no member of a '{_STEER}'. Send 'previous_response_id' and 'input' alone.",
                param=name[:64],
                code="unknown_parameter",
            )
    if size > MAX_STEER_BYTES:
        raise InvalidRequest(
            f"A '{_STEER}' may have {MAX_STEER_BYTES} bytes. Send less.", param="input", code="invalid_value"
        )
    named = body.get("previous_response_id")
    if not isinstance(named, str):
        raise InvalidRequest(
            f"'previous_response_id' must be the id of the response that runs, but is {kind_of(named)}.",
            param="previous_response_id",
            code="invalid_type",
        )
    return named


def accepted(response_id: str, steer: Steer, sequence: int) -> bytes:
    """`sequence` is the number of the response's last event that this connection has sent: the log has no event for
    this one, and a client goes on after that number."""
    steered = reference(response_id, steer)
    return orjson.dumps({"type": f"{_STEER}.accepted", "sequence_number": sequence, "steer": steered})


def failed(body: JsonObject, error: OpenResponsesError, sequence: int) -> bytes:
    """The refusal of a message, with its input, so that the client can send it elsewhere."""
    is_invalid = isinstance(error, InvalidRequest)
    told = _INVALID if is_invalid else _OPENAIS_CODES.get(error.error_code, error.error_code)
    steered = {name: body.get(name) for name in _MEMBERS}
    return _failed(steered, told, error.message, sequence)


def pending(steer: Steer, response: JsonObject, sequence: int) -> bytes | None:
    """An accepted message that stands in the output, and that the response which brings the client's part will read.

    None for a message that a model turn has read.
    """
    required = list(_required_input(response["output"]))
    if not required or steer.steer_id not in _behind_the_last_turn(response["output"]):
        return None
    return orjson.dumps(
        {
            "type": f"{_STEER}.pending",
            "sequence_number": sequence,
            "steer": reference(response["id"], steer),
            "reason": _WAITS_FOR_INPUT,
            "required_input": required,
        }
    )


def _behind_the_last_turn(output: list[JsonObject]) -> set[str]:
    """The ids of the steers whose messages end the output."""
    found: set[str] = set()
    for item in reversed(output):
        if "steer_id" not in item:
            break
        found.add(item["steer_id"])
    return found


def _required_input(output: list[JsonObject]) -> Iterator[JsonObject]:
    """What the next request has to bring: the outputs of the client's calls, and decisions. Stubs, as OpenAI's."""
    answered = {item.get("call_id") or item["id"] for item in output if item["type"] in OUTPUT_TYPES}
    decided = {item.get("approval_request_id") for item in output}
    for item in output:
        kind = item["type"]
        if kind == "mcp_approval_request" and item["id"] not in decided:
            yield {"type": "mcp_approval_response", "approval_request_id": item["id"]}
        call_id = item.get("call_id")
        if kind not in OUTPUT_TYPE_OF or call_id is None or call_id in answered or item.get("status") == "incomplete":
            continue
        stub: JsonObject = {"type": OUTPUT_TYPE_OF[kind], "call_id": call_id}
        if kind == "function_call":
            stub["name"] = item["name"]
        elif kind == "tool_search_call":
            stub["execution"] = "client"
        elif kind == "local_shell_call":
            # OpenAI's `local_shell_call_output` names its call by `id`.
            stub = {"type": stub["type"], "id": call_id}
        yield stub


def unread(body: JsonObject, steer: Steer, sequence: int) -> bytes:
    """An accepted message that no model turn came to read, because the response failed, was cancelled or reached a
    limit."""
    steered = {"id": steer.steer_id, **{name: body.get(name) for name in _MEMBERS}}
    return _failed(steered, "response_not_active", _UNREAD, sequence)


def _failed(steered: JsonObject, code: str, message: str, sequence: int) -> bytes:
    error = {"type": "invalid_request_error", "code": code, "message": message}
    return orjson.dumps({"type": f"{_STEER}.failed", "sequence_number": sequence, "steer": steered, "error": error})
