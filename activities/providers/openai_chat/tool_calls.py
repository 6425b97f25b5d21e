"""The function calls in a chat completion's chunks: which piece belongs to which call."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from activities.providers.shared.json_objects import as_object, object_in
from open_responses.deltas import ToolCallDelta
from open_responses.json_types import JsonObject


@dataclass(slots=True)
class _Call:
    call_id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are an object. Read only where they may be: a server that repeats the name in each
        piece asks this each time."""
        if not self.pieces or not self.pieces[-1].rstrip().endswith("}"):
            return False
        self.pieces = ["".join(self.pieces)]
        return object_in(self.pieces[0]) is not None


class ToolCalls:
    """Which call a piece belongs to. Servers leave out the index or the id, repeat the name in each piece, or change
    the id on the way; several whole calls may have one index."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, int] = {}

    @property
    def any(self) -> bool:
        return bool(self._calls)

    def read(self, pieces: list[Any]) -> list[ToolCallDelta]:
        return [self._piece(as_object(piece), first=position == 0) for position, piece in enumerate(pieces)]

    def _piece(self, piece: JsonObject, *, first: bool) -> ToolCallDelta:
        function = as_object(piece.get("function"))
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
        given = _Call(piece.get("id") or None, function.get("name") or None, [arguments] if arguments else [])
        index = piece.get("index")
        at = self._by_index.get(index) if isinstance(index, int) else self._without_index(given, first)
        if at is None or (isinstance(index, int) and _is_another(self._calls[at], given)):
            at = len(self._calls)
            self._calls.append(_Call())
        if isinstance(index, int):
            self._by_index[index] = at
        call = self._calls[at]
        delta = ToolCallDelta(at, arguments, None if call.call_id else given.call_id, None if call.name else given.name)
        call.call_id, call.name = call.call_id or given.call_id, call.name or given.name
        call.pieces += given.pieces
        return delta

    def _without_index(self, given: _Call, first: bool) -> int | None:
        for at, call in enumerate(self._calls):
            if given.call_id is not None and call.call_id == given.call_id:
                return at
        if not self._calls:
            return None
        last = self._calls[-1]
        begins = given.name is not None and (not first or given.name != last.name or _adds(last, given))
        return None if begins else len(self._calls) - 1


def _is_another(call: _Call, given: _Call) -> bool:
    """Whether a piece with the index of a call begins another one."""
    if given.name is None or call.name is None or (given.call_id is not None and given.call_id == call.call_id):
        return False
    return (given.call_id is not None and given.name != call.name) or _adds(call, given)


def _adds(call: _Call, given: _Call) -> bool:
    """Arguments after those that are whole."""
    return bool(given.pieces) and call.is_whole
