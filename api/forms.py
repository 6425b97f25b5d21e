"""The forms in which a client gets a response: the specification's, or those of OpenAI's API (`openai_forms.py`).

In both, a call of a built-in tool that this server ran is OpenAI's item. The text that the model read is left out,
unless the response is not stored: then only the client can bring the item back with its next request.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import orjson
from starlette.requests import HTTPConnection

from api.openai_forms import OpenAIForms, speaks_openai
from open_responses.io.log.encoding import encode
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import CALL, without_call
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import ProviderTool
from open_responses.tool_use.built_in import built_in_of

_CALL = f'"{CALL}"'.encode()


class Forms(Protocol):
    """Writes the events of one response, and the response itself. `ends_with_done`: a stream ends with `[DONE]`."""

    ends_with_done: bool

    def event(self, event: bytes) -> bytes:
        """An encoded event of the log, padded or not."""
        ...

    def response(self, response: bytes | JsonObject) -> bytes | JsonObject:
        """A response, encoded or not."""
        ...


class PlainForms:
    """The events as the log has them, without what the model read of built-in tools."""

    ends_with_done = True

    def __init__(self, include: Collection[str] = ()) -> None:
        self._include = include

    def event(self, event: bytes) -> bytes:
        if _CALL not in event:
            return event
        read = orjson.loads(event)
        return encode(self._without_calls(read), read["sequence_number"])

    def response(self, response: bytes | JsonObject) -> bytes | JsonObject:
        if isinstance(response, bytes):
            return orjson.dumps(self._without_output(orjson.loads(response))) if _CALL in response else response
        return self._without_output(response)

    def _without_calls(self, event: JsonObject) -> JsonObject:
        if "item" in event:
            return {**event, "item": without_call(event["item"], self._include)}
        if "response" in event:
            return {**event, "response": self._without_output(event["response"])}
        return event

    def _without_output(self, response: JsonObject) -> JsonObject:
        return {**response, "output": [without_call(item, self._include) for item in response["output"]]}


class HiddenCalls:
    """OpenAI's forms, without what the model read of built-in tools."""

    ends_with_done = False

    def __init__(self, openai: OpenAIForms, plain: PlainForms) -> None:
        self._openai, self._plain = openai, plain

    def event(self, event: bytes) -> bytes:
        return self._openai.event(self._plain.event(event))

    def response(self, response: bytes | JsonObject) -> bytes | JsonObject:
        return self._openai.response(self._plain.response(response))


def forms_for(connection: HTTPConnection, asked: CreateResponse, include: Collection[str] = ()) -> Forms | None:
    """How to write the response to this request; None for a client that gets the events as they are.

    `include` has names of members to show beside those that the request has named.
    """
    hides = asked.is_stored and _may_run_built_ins(asked)
    if not speaks_openai(connection):
        return PlainForms(include) if hides else None
    openai = OpenAIForms(asked)
    return HiddenCalls(openai, PlainForms(include)) if hides else openai


def _may_run_built_ins(asked: CreateResponse) -> bool:
    """Whether this server may run calls of a built-in tool for the request."""
    return any(isinstance(tool, ProviderTool) and built_in_of(tool.type) for tool in asked.tools or [])
