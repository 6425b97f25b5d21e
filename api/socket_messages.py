"""The messages of the socket: what a client may send, and the envelope that tells it of an error (WS-1, WS-9)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import orjson
import structlog
from temporalio.service import RPCError

from open_responses.errors import InvalidRequest, OpenResponsesError, RequestTooLarge, ServerError, Unavailable
from open_responses.io.redis import RedisError
from open_responses.json_types import JsonObject
from open_responses.validation import kind_of, read_json_object, shorten

log = structlog.get_logger(__name__)

_CREATE = "response.create"
# Fields of the HTTP request, or of OpenAI's socket, and why they are not taken here.
_NOT_HERE = {
    "stream": "a socket always streams",
    "stream_options": "a socket always streams, and the same events",
    "background": "leave the socket instead: a stored response goes on, and can be followed over HTTP",
    "stream_id": "a connection runs one response at a time; open another one for each that is to run beside it",
}


def read_message(message: str | bytes, limit: int) -> bytes | OpenResponsesError:
    """A message as it waits for its turn: what is wrong from afar is not kept."""
    if isinstance(message, bytes):
        return InvalidRequest("Messages are JSON, in text frames; this was a binary one.", code="invalid_json")
    raw = message.encode()
    if len(raw) > limit:
        return RequestTooLarge(f"The message is larger than {limit} bytes.")
    return raw


def read_turn(raw: bytes) -> JsonObject:
    """The fields of a `response.create`. Raises InvalidRequest for what is no JSON object, and for other messages."""
    body = read_json_object(raw)
    kind = body.pop("type", None)
    if kind is None:
        raise InvalidRequest("Missing required parameter: 'type'.", param="type", code="missing_required_parameter")
    if kind != _CREATE:
        found = f"'{shorten(kind)}'" if isinstance(kind, str) else kind_of(kind)
        raise InvalidRequest(f"'type' must be '{_CREATE}', but is {found}.", param="type", code="invalid_value")
    return body


def take_generate(body: JsonObject) -> bool:
    """Takes out of the body what only a socket has; false for a warm-up. Raises InvalidRequest for what it has not."""
    for name, reason in _NOT_HERE.items():
        if body.pop(name, None) is not None:
            raise InvalidRequest(
                f"'{name}' must not be sent over a WebSocket: {reason}.", param=name, code="unsupported_parameter"
            )
    generate = body.pop("generate", None)
    if generate is not None and not isinstance(generate, bool):
        raise InvalidRequest(
            f"'generate' must be a boolean (true or false), but is {kind_of(generate)}.",
            param="generate",
            code="invalid_type",
        )
    return generate is not False


def envelope(error: OpenResponsesError, headers: Mapping[str, str] | None = None) -> bytes:
    """WS-9. `headers` are those that the answer would have over HTTP, where there are any: OpenAI's clients look there
    for how long to wait."""
    told: JsonObject = {
        "code": error.error_code,
        "message": error.message,
        "param": error.param,
        "type": error.type,
    }
    shown = dict(headers or {})
    if error.retry_after is not None:
        shown["retry-after"] = str(max(1, math.ceil(error.retry_after)))
    if shown:
        told["headers"] = shown
    return orjson.dumps({"type": "error", "status": error.status, "error": told})


def as_told(error: Exception) -> OpenResponsesError:
    """What a client is told of an error that is not ours: the socket's counterpart of `api/errors.py`."""
    if isinstance(error, OpenResponsesError):
        return error
    if isinstance(error, RPCError | RedisError | OSError):
        log.warning("dependency_away", path="websocket", reason=str(error))
        return Unavailable("A part of the server cannot be reached. Try again shortly.", retry_after=1)
    log.exception("unexpected_error", path="websocket", exc_info=error)
    return ServerError("The server failed in a way that it should not have. It has been logged.")
