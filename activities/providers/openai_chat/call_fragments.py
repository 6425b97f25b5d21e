"""Assigns the pieces of function calls in a chat completion's chunks to their calls."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from activities.providers.shared.json_objects import as_object, object_in
from open_responses.deltas import ToolCallDelta
from open_responses.json_types import JsonObject

_BRACKETS = re.compile(r'["\\{}\[\]]')


@dataclass(slots=True)
class _Call:
    """A call as far as it came; `is_open` once it was passed on.

    Whether its arguments are a whole object is found out piece by piece, and only for servers that repeat the name:
    reading all of them again with each piece would be quadratic.
    """

    call_id: str | None = None
    name: str | None = None
    pieces: list[str] = field(default_factory=list)
    is_open: bool = False
    _unread: int = 0
    _depth: int = 0
    _in_text: bool = False
    _is_escaped: bool = False
    _closed: bool | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the pieces are one complete JSON object, so that the next piece begins another one."""
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
            # The object is closed, or the text is no object. The result is stored after one reading.
            self._closed = object_in("".join(self.pieces)) is not None


class ToolCalls:
    """Finds the call of each piece. Servers omit the index or the id, repeat the name in each piece, or change the id
    in the middle, and several complete calls may have one index.

    A name may come behind the arguments, or in fragments: a call is passed on once its name is whole, by the `names` of
    the functions that are offered.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = frozenset(names)
        self._calls: list[_Call] = []
        self._by_index: dict[int, int] = {}

    @property
    def any(self) -> bool:
        return any(call.name or call.call_id or call.pieces for call in self._calls)

    def read(self, pieces: list[Any]) -> list[ToolCallDelta]:
        found = (self._piece(as_object(piece), first=position == 0) for position, piece in enumerate(pieces))
        return [delta for deltas in found for delta in deltas]

    def rest(self) -> list[ToolCallDelta]:
        """The calls that were not passed on, at the end: those whose name may have been longer, or never came."""
        left = [(at, call) for at, call in enumerate(self._calls) if not call.is_open]
        return [_opened(at, call) for at, call in left if call.name or call.call_id or call.pieces]

    def _piece(self, piece: JsonObject, *, first: bool) -> list[ToolCallDelta]:
        function = as_object(piece.get("function"))
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
        given = _Call(_text_in(piece, "id"), _text_in(function, "name"), [arguments] if arguments else [])
        index = piece.get("index")
        at = self._by_index.get(index) if isinstance(index, int) else self._without_index(given, first)
        before: list[ToolCallDelta] = []
        if at is None or (isinstance(index, int) and _is_another(self._calls[at], given)):
            before = [_opened(n, call) for n, call in enumerate(self._calls) if call.name and not call.is_open]
            at = len(self._calls)
            self._calls.append(_Call())
        if isinstance(index, int):
            self._by_index[index] = at
        return [*before, *self._more(at, given)]

    def _more(self, at: int, given: _Call) -> list[ToolCallDelta]:
        call = self._calls[at]
        new_id = None if call.call_id else given.call_id
        call.call_id = call.call_id or given.call_id
        call.pieces += given.pieces
        if call.is_open:
            return [ToolCallDelta(at, "".join(given.pieces), new_id)]
        call.name = self._name(call.name, given.name)
        if call.name is None or not self._is_settled(call.name, given):
            return []
        return [_opened(at, call)]

    def _name(self, before: str | None, given: str | None) -> str | None:
        """The name so far, of a call that was not passed on."""
        if before is None or given is None:
            return before or given
        if before == given and before + given not in self._names:
            return before
        joined = given if given.startswith(before) and given != before else before + given
        return joined if self._begins_name(joined) else before

    def _is_named_by(self, call: _Call, given: str | None) -> bool:
        """Whether this is the name of a call whose arguments came first, or more of its name."""
        if call.is_open or given is None:
            return False
        return call.name is None or self._name(call.name, given) != call.name

    def _is_settled(self, name: str, given: _Call) -> bool:
        """Whether no more of the name can follow."""
        if not any(known != name and known.startswith(name) for known in self._names):
            return True
        return bool(given.pieces) and (given.name is None or name in self._names)

    def _begins_name(self, text: str) -> bool:
        return any(name.startswith(text) for name in self._names)

    def _without_index(self, given: _Call, first: bool) -> int | None:
        for at, call in enumerate(self._calls):
            if given.call_id is not None and call.call_id == given.call_id:
                return at
        if not self._calls:
            return None
        last = self._calls[-1]
        if given.call_id is None and self._is_named_by(last, given.name):
            return len(self._calls) - 1
        begins = given.name is not None and (not first or given.name != last.name or _adds(last, given))
        return None if begins else len(self._calls) - 1


def _is_another(call: _Call, given: _Call) -> bool:
    """Whether a piece with the index of a call begins another one."""
    if given.name is None or call.name is None or (given.call_id is not None and given.call_id == call.call_id):
        return False
    return (given.call_id is not None and given.name != call.name) or _adds(call, given)


def _adds(call: _Call, given: _Call) -> bool:
    """Whether a piece has arguments although those of the call are complete."""
    return bool(given.pieces) and call.is_whole


def _opened(at: int, call: _Call) -> ToolCallDelta:
    call.is_open = True
    return ToolCallDelta(at, "".join(call.pieces), call.call_id, call.name)


def _text_in(given: JsonObject, member: str) -> str | None:
    value = given.get(member)
    return value if isinstance(value, str) and value else None
