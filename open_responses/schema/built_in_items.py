"""A call of a built-in tool that this server ran itself: OpenAI's item, with one member of our own.

OpenAI's items have no room for the text that the model read, nor for the function that it called. Both are in
`open_responses_call`. The member is part of the item wherever the item is stored, so it lives exactly as long as the
item does: in Temporal, the log, chains, conversations and files. Clients are not sent it (`without_call`), unless the
response is not stored: then only the client can bring the item back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from open_responses.json_types import JsonObject
from open_responses.schema.content import LenientObject, ToolOutput
from open_responses.schema.deferred import DEFERRED, deferred
from open_responses.schema.names import FunctionName

CALL = "open_responses_call"
"""The member with the call as the model made it, and the output as the model read it."""

MAX_CITATIONS = 200
"""Of one call. More are left out of the item."""

_STREAMED = {"code_interpreter_call": "code"}


class Citation(LenientObject):
    """A source that a text may cite: an annotation without its indexes in a text."""

    type: Literal["url_citation", "file_citation", "container_file_citation"]
    url: str | None = None
    title: str | None = None
    file_id: str | None = None
    filename: str | None = None
    container_id: str | None = None


CITATIONS: TypeAdapter[list[Citation]] = deferred(TypeAdapter(list[Citation], config=DEFERRED))


class CallRecord(LenientObject):
    """The call as the model made it.

    Attributes:
        function: The name of the function that the model called.
        arguments: The arguments as JSON; None if the item's own text is the only argument.
        ordinal: The number of the call among those of the context, from 1. The marks of citations begin with it.
        output: The output that the model read; None while the call runs.
        citations: The annotations that the model may cite, without their indexes in a text.
        members: Members of the model's call that its provider has to get back.
    """

    function: FunctionName
    arguments: str | None = None
    ordinal: int = 0
    output: ToolOutput | None = None
    citations: Annotated[list[Citation], Field(max_length=MAX_CITATIONS, fail_fast=True)] = []  # noqa: RUF012
    members: JsonObject = {}  # noqa: RUF012


class BuiltInCall(LenientObject):
    """An item of a call that this server ran, such as a `web_search_call`."""

    type: str
    id: Annotated[str, Field(min_length=1)]
    status: str | None = None
    approval_request_id: str | None = None
    open_responses_call: CallRecord

    @property
    def arguments(self) -> str:
        """The arguments as JSON."""
        written = self.open_responses_call.arguments
        member = _STREAMED.get(self.type)
        if written is not None or member is None:
            return written or "{}"
        return json.dumps({member: (self.model_extra or {}).get(member) or ""}, ensure_ascii=False)


def runs_here(item: JsonObject) -> bool:
    """Whether an item is a call that this server runs, and not a provider."""
    return CALL in item


def arguments_of(item: JsonObject) -> str:
    """The arguments of a call that this server runs, as JSON."""
    written: str | None = item[CALL].get("arguments")
    member = _STREAMED.get(item["type"])
    if written is not None or member is None:
        return written or "{}"
    return json.dumps({member: item.get(member) or ""}, ensure_ascii=False)


def newest_item(item_type: str, output: Sequence[JsonObject]) -> JsonObject | None:
    """The newest call of a type in an output that this server runs, in OpenAI's form; None if there is none."""
    found = (item for item in reversed(output) if item["type"] == item_type and CALL in item)
    newest = next(found, None)
    return None if newest is None else without_call(newest)


def without_call(item: JsonObject) -> JsonObject:
    """The item in OpenAI's form, as clients get it."""
    return {name: value for name, value in item.items() if name != CALL} if CALL in item else item
