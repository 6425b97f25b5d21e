"""`/openai/v1`: the endpoints of `/v1`, for clients that were written for OpenAI's API.

The specification and OpenAI's API differ in a few names and members. A client that waits for
`response.reasoning_text.delta`, OpenAI's name, shows nothing of a `response.reasoning.delta`. The log, and all other
code, have the specification's forms alone. This module writes OpenAI's where the bytes leave the server:

- `response.reasoning.delta` and `.done` are `response.reasoning_text.delta` and `.done`.
- An event of this server's extensions is a `keepalive`, which OpenAI's API sends as well: some of its clients (`openai`
  for Node, and for Java) end a stream at a type that they do not know, and a missing event would leave a hole.
- An `error` event has `message`, `code` and `param` as members of its own, beside `error`.
- A response echoes the schema of `text.format`, and each `reasoning.effort` that OpenAI has. Its usage has
  `cache_write_tokens` in each case.
- An `mcp_list_tools` has no members that are null: the AI SDK refuses a whole response for an `error` of null.
- A stream ends behind its last event, without `[DONE]`.
"""

from __future__ import annotations

from typing import cast

import orjson
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from open_responses.events.event_types import EVENT_TYPES, TERMINAL_EVENTS
from open_responses.io.log.encoding import encode
from open_responses.json_types import JsonObject
from open_responses.schema.requests import CreateResponse
from open_responses.schema.text_settings import JsonSchemaFormat

PREFIX = "/openai"
_ENDPOINTS = f"{PREFIX}/v1/"
_SPOKEN = "open_responses.speaks_openai"

RENAMED_EVENTS = {
    "response.reasoning.delta": "response.reasoning_text.delta",
    "response.reasoning.done": "response.reasoning_text.done",
}
_RENAMED = {theirs.encode(): openais.encode() for theirs, openais in RENAMED_EVENTS.items()}
_EXTENSION = b"open_responses:"
_LISTED_TOOLS = "mcp_list_tools"
_KEEPALIVE = "keepalive"
_ENDS = frozenset(name.encode() for name in TERMINAL_EVENTS)
_WITH_RESPONSE = frozenset(name.encode() for name, row in EVENT_TYPES.items() if "response" in row.members)
_WITH_ITEM = frozenset(name.encode() for name, row in EVENT_TYPES.items() if "item" in row.members)
# Each encoded event begins with it.
_BEGIN = b'{"type":"'


class OpenAIPrefix:
    """The ASGI layer that takes the prefix from the path. All layers and routes behind it see the path of `/v1`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].startswith(_ENDPOINTS):
            raw: bytes | None = scope.get("raw_path")
            without = {"path": scope["path"].removeprefix(PREFIX), _SPOKEN: True}
            if raw is not None:
                without["raw_path"] = raw.removeprefix(PREFIX.encode())
            scope = {**scope, **without}
        await self._app(scope, receive, send)


def speaks_openai(connection: HTTPConnection) -> bool:
    """Whether the client came to `/openai/v1`."""
    return _SPOKEN in connection.scope


class OpenAIForms:
    """Writes the events of one response, and the response itself, in OpenAI's forms."""

    ends_with_done = False

    def __init__(self, asked: CreateResponse) -> None:
        text_format = asked.text.format if asked.text is not None else None
        self._schema = text_format.schema_ if isinstance(text_format, JsonSchemaFormat) else None
        self._effort = asked.reasoning.effort if asked.reasoning is not None else None
        self._changes_echo = self._schema is not None or self._effort is not None

    def event(self, event: bytes) -> bytes:
        """An encoded event of the log, padded or not."""
        kind = event[len(_BEGIN) : event.index(b'"', len(_BEGIN))]
        if (renamed := _RENAMED.get(kind)) is not None:
            return _BEGIN + renamed + event[len(_BEGIN) + len(kind) :]
        if kind.startswith(_EXTENSION):
            return encode({"type": _KEEPALIVE}, orjson.loads(event)["sequence_number"])
        if kind == b"error":
            read = orjson.loads(event)
            return encode(
                {**read, **{name: read["error"].get(name) for name in ("code", "message", "param")}},
                read["sequence_number"],
            )
        if kind in _ENDS or (self._changes_echo and kind in _WITH_RESPONSE):
            read = orjson.loads(event)
            return encode({**read, "response": self._of(read["response"])}, read["sequence_number"])
        if kind in _WITH_ITEM and _LISTED_TOOLS.encode() in event:
            read = orjson.loads(event)
            return encode({**read, "item": _item(read["item"])}, read["sequence_number"])
        return event

    def response(self, response: bytes | JsonObject) -> JsonObject:
        """A response, encoded or not."""
        return self._of(orjson.loads(response) if isinstance(response, bytes) else response)

    def _of(self, response: JsonObject) -> JsonObject:
        text, reasoning, usage = response["text"], response["reasoning"], response["usage"]
        if usage is not None:
            usage = {**usage, "input_tokens_details": {"cache_write_tokens": 0, **usage["input_tokens_details"]}}
        output = [_item(item) for item in response["output"]]
        if self._schema is not None:
            text = {**text, "format": {**text["format"], "schema": self._schema}}
        if self._effort is not None and reasoning is not None:
            reasoning = {**reasoning, "effort": self._effort}
        return cast(JsonObject, {**response, "text": text, "reasoning": reasoning, "usage": usage, "output": output})


def _item(item: JsonObject) -> JsonObject:
    if item["type"] != _LISTED_TOOLS:
        return item
    return {**_without_nulls(item), "tools": [_without_nulls(tool) for tool in item["tools"]]}


def _without_nulls(members: JsonObject) -> JsonObject:
    return {name: value for name, value in members.items() if value is not None}
