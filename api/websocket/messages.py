"""The messages of a WebSocket: those that a client may send, and the error envelope (WS-1, WS-9)."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from api.errors import retry_headers
from open_responses.errors import InvalidRequest, OpenResponsesError, RequestTooLarge
from open_responses.io.metrics import recording as metrics
from open_responses.json_types import JsonObject
from open_responses.schema.validation import kind_of, read_json_object, shorten

_CREATE = "response.create"
_OPENAIS_PROTOCOL = "responses_websockets="
# Fields of the HTTP request, or of OpenAI's socket, and why they are not taken here.
_NOT_HERE = {
    "stream": "a socket always streams",
    "stream_options": "a socket always streams, and the same events",
    "background": "leave the socket instead: a stored response goes on, and can be followed over HTTP",
    "stream_id": "a connection runs one response at a time; open another one for each that is to run beside it",
}


def read_message(message: str | bytes, limit: int) -> bytes | OpenResponsesError:
    """A message to queue, or the error of one that is binary or too large, whose content is not kept."""
    if isinstance(message, bytes):
        return InvalidRequest(
            "Your message came in a binary frame. Send it as JSON in a text frame.", code="invalid_json"
        )
    raw = message.encode()
    if len(raw) > limit:
        return RequestTooLarge(
            f"Your message is larger than {limit} bytes, the most that this server accepts. Send less."
        )
    return raw


def read_request(raw: bytes) -> JsonObject:
    """The fields of a `response.create`. Raises InvalidRequest for what is no JSON object, and for other messages."""
    body = read_json_object(raw)
    kind = body.pop("type", None)
    if kind is None:
        raise InvalidRequest("Missing required parameter: 'type'.", param="type", code="missing_required_parameter")
    if kind != _CREATE:
        found = f"'{shorten(kind)}'" if isinstance(kind, str) else kind_of(kind)
        raise InvalidRequest(f"'type' must be '{_CREATE}', but is {found}.", param="type", code="invalid_value")
    return body


def names_openais_protocol(headers: Mapping[str, str]) -> bool:
    """Whether the handshake names OpenAI's own socket protocol, whose clients (Codex, openai-agents) say `stream: true`
    in each request."""
    return _OPENAIS_PROTOCOL in headers.get("openai-beta", "")


def take_generate(body: JsonObject, *, is_openais: bool = False) -> bool:
    """Takes out of the body what only a socket has; false for a warm-up. Raises InvalidRequest for what it has not.

    WS-1 has `stream` refused; with `is_openais`, true is let pass: it says what happens in any case.
    """
    if is_openais and body.get("stream") is True:
        del body["stream"]
    for name, reason in _NOT_HERE.items():
        if body.pop(name, None) is not None:
            raise InvalidRequest(
                f"'{name}' must not be sent over a WebSocket: {reason}. Leave it out.",
                param=name,
                code="unsupported_parameter",
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
    metrics.refused(error.error_code)
    told: JsonObject = {
        "code": error.error_code,
        "message": error.message,
        "param": error.param,
        "type": error.type,
    }
    shown = {**retry_headers(error), **(headers or {})}
    if shown:
        told["headers"] = shown
    return orjson.dumps({"type": "error", "status": error.status, "error": told})
