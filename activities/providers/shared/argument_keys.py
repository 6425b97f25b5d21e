"""Renames the keys in a call's arguments, in JSON that arrives in pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_MARK = re.compile(r'["{}\[\],:]')
_END_OF_TEXT = re.compile(r'["\\]')
# No key that is renamed is longer: 64 characters, each of which may be written as an escape.
_LONGEST_KEY = 500


class KeyRenamer:
    """Passes JSON on, with other names in place of some keys, at any depth.

    A key is held back until it is complete; everything else is passed on with its piece. What is not JSON is passed on
    as it is.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._containers: list[str] = []
        self._expects_key = False
        self._text: str | None = None
        self._is_key = False
        self._is_escaped = False

    def rename(self, piece: str) -> str:
        """The piece as far as its keys are complete, behind what was held back."""
        written: list[str] = []
        at = 0
        while at < len(piece):
            at = self._in_text(piece, at, written) if self._text is not None else self._outside(piece, at, written)
        return "".join(written)

    def rest(self) -> str:
        """What is held back: half of a key, where the arguments broke off."""
        held, self._text = (self._text or "") if self._is_key else "", None
        return held

    def _outside(self, piece: str, at: int, written: list[str]) -> int:
        found = _MARK.search(piece, at)
        if found is None:
            written.append(piece[at:])
            return len(piece)
        written.append(piece[at : found.start()])
        mark = found[0]
        if mark == '"':
            self._is_key = self._expects_key and self._containers[-1:] == ["{"]
            self._text, self._is_escaped = mark, False
            if not self._is_key:
                written.append(mark)
            return found.end()
        written.append(mark)
        if mark in "{[":
            self._containers.append(mark)
        elif mark in "}]" and self._containers:
            self._containers.pop()
        self._expects_key = mark in "{,"
        return found.end()

    def _in_text(self, piece: str, at: int, written: list[str]) -> int:
        end = at
        is_over = False
        while end < len(piece) and not is_over:
            if self._is_escaped:
                self._is_escaped, end = False, end + 1
                continue
            found = _END_OF_TEXT.search(piece, end)
            if found is None:
                end = len(piece)
            else:
                end = found.end()
                self._is_escaped, is_over = found[0] == "\\", found[0] == '"'
        if self._is_key and len(self._text or "") < _LONGEST_KEY:
            self._text = f"{self._text}{piece[at:end]}"
        elif self._is_key:
            written += [self._text or "", piece[at:end]]
            self._text, self._is_key = "", False
        else:
            written.append(piece[at:end])
        if is_over:
            if self._is_key:
                written.append(self._renamed(self._text or ""))
            self._text = None
        return end

    def _renamed(self, written: str) -> str:
        try:
            key = json.loads(written)
        except ValueError:
            return written
        name = self._names.get(key)
        return written if name is None else json.dumps(name, ensure_ascii=False)


def renamed_keys(arguments: str, names: Mapping[str, str]) -> str:
    """Whole arguments, with other names in place of some keys."""
    renamer = KeyRenamer(names)
    return renamer.rename(arguments) + renamer.rest()
