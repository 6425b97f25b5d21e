"""The function calls in a chat completion's chunks: which piece belongs to which call."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from activities.providers.shared.json_objects import as_object, object_in
from open_responses.deltas import ToolCallDelta
from open_responses.json_types import JsonObject

_BRACKETS = re.compile(r'["\\{}\[\]]')


@dataclass(slots=True)
class _Call:
    """A call as far as it came. Whether its arguments are a whole object is found out piece by piece, and only for
    servers that repeat the name: reading all of them again with each piece would be quadratic."""

    call_id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list)
    _unread: int = 0
    _depth: int = 0
    _in_text: bool = False
    _is_escaped: bool = False
    _closed: bool | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the pieces are one JSON object, so that whatever follows begins another one."""
        while self._unread < len(self.pieces):
            self._read(self.pieces[self._unread])
            self._unread += 1
        return self._closed is True

    def _read(self, piece: str) -> None:
        if self._closed is not None:
            self._closed = self._closed and not piece.strip()
            return
        at = 0
        if self._is_escaped and piece:
            self._is_escaped, at = False, 1
        while (found := _BRACKETS.search(piece, at)) is not None:
            at = found.end()
            mark = found[0]
            if self._in_text:
                if mark == "\\":
                    self._is_escaped = at == len(piece)
                    at += 1
                elif mark == '"':
                    self._in_text = False
            elif mark == '"':
                self._in_text = True
            elif mark in "{[":
                self._depth += 1
            elif mark in "}]":
                self._depth -= 1
        if self._depth <= 0 and not self._in_text and piece.strip():
            # Closed, or none of an object: read once, and then known.
            self._closed = object_in("".join(self.pieces)) is not None


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
