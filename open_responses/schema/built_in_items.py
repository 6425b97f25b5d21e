"""A call of a built-in tool that this server ran itself: OpenAI's item, with one member of our own.

OpenAI's items have no room for the text that the model read, nor for the function that it called. Both are in
`open_responses_call`. The member is part of the item wherever the item is stored, so it lives exactly as long as the
item does: in Temporal, the log, chains, conversations and files. Clients are not sent it (`without_call`), unless the
response is not stored: then only the client can bring the item back.

The member also keeps what the item shows on request alone, such as the results of a search. A client may ask for it
with `include` when it reads the item, although the request did not ask for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator

from open_responses.json_types import JsonObject
from open_responses.schema.content import LenientObject, ToolOutput
from open_responses.schema.deferred import DEFERRED, deferred
from open_responses.schema.names import FunctionName

CALL = "open_responses_call"
"""The member with the call as the model made it, and the output as the model read it."""

WAITING = "waiting"
"""In that member: the state of a program that waits for the client's next request (`WaitingProgram`)."""

FUNCTIONS = "functions"
"""In that member: what a program may call (`ProgramFunction`)."""

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
        on_request: The members of the finished item that `include` has to name and the request did not, by the value
            of `include`.
    """

    function: FunctionName
    arguments: str | None = None
    ordinal: int = 0
    output: ToolOutput | None = None
    citations: Annotated[list[Citation], Field(max_length=MAX_CITATIONS, fail_fast=True)] = []  # noqa: RUF012
    members: JsonObject = {}  # noqa: RUF012
    on_request: JsonObject = {}  # noqa: RUF012

    @model_validator(mode="before")
    @classmethod
    def _without_the_servers_own(cls, given: Any) -> Any:
        """Items that are validated come from a client. What a program may call, and where it goes on, never does."""
        if not isinstance(given, dict):
            return given
        return {name: value for name, value in given.items() if name not in (WAITING, FUNCTIONS)}


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


def without_call(item: JsonObject, include: Collection[str] = ()) -> JsonObject:
    """The item in OpenAI's form, as clients get it, with the members that `include` names."""
    if CALL not in item:
        return item
    shown = {name: value for name, value in item.items() if name != CALL}
    if not include:
        return shown
    # A client may have written null.
    kept = (item[CALL] or {}).get("on_request") or {}
    for name in include:
        if name in kept and (path := member_path(name, item["type"])):
            shown = _with_member(shown, path, kept[name])
    return shown


def member_path(name: str, item_type: str) -> tuple[str, ...]:
    """The path of the member that a value of `include` names; empty if it is a member of items of another type."""
    kind, *path = name.split(".")
    return tuple(path) if kind == item_type else ()


def taken_out(item: JsonObject, members: JsonObject, names: Collection[str]) -> tuple[JsonObject, JsonObject]:
    """The members of an item that ends without those that values of `include` name, and the latter by these values.

    A member that the item had when it began becomes null, as in OpenAI's items.
    """
    shown, kept = members, dict[str, object]()
    for name in names:
        first, *rest = member_path(name, item["type"])
        holder = shown.get(first) if rest else shown
        member = rest[0] if rest else first
        if isinstance(holder, dict) and holder.get(member) is not None:
            kept[name] = holder[member]
        if rest and isinstance(holder, dict):
            shown = {**shown, first: {key: value for key, value in holder.items() if key != member}}
        elif not rest:
            shown = {key: value for key, value in shown.items() if key != member}
            shown |= {member: None} if member in item else {}
    return shown, kept


def _with_member(item: JsonObject, path: tuple[str, ...], value: object) -> JsonObject:
    first, *rest = path
    if not rest:
        return {**item, first: value}
    inner = item.get(first)
    return {**item, first: {**inner, rest[0]: value}} if isinstance(inner, dict) else item
