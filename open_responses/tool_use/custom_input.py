"""Reads the input of a custom tool out of the arguments of the function that stands for the tool.

A provider without custom tools is offered a function with one string argument, `input`. Its model writes
`{"input": "…"}`, in pieces of any size, and the client reads the text of that string while it is written. Models also
write the text alone, or name the argument otherwise: then the input is known when the call ends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from open_responses.tool_use.json_safety import whole_characters

INPUT = "input"
"""The name of the function's one argument."""

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# With blanks. The beginning is read again with each piece until the opening is complete, so it has a bound.
_LONGEST_OPENING = 1000
_HEX_DIGITS = 4
_HIGH = range(0xD800, 0xDC00)
_LOW = range(0xDC00, 0xE000)
_REPLACEMENT = "\ufffd"


class CustomInput:
    """The input of one call. `feed` takes the arguments as they arrive; `rest` ends it.

    Args:
        name: The name of the function's one argument.
    """

    def __init__(self, name: str = INPUT) -> None:
        self._name = name
        # The opening, token by token: a text that is not a beginning of it never becomes one.
        self._tokens = ("{", f'"{name}"', ":", '"')
        self._opening = re.compile(r"\s*".join(["", *map(re.escape, self._tokens)]))
        self._waiting = ""
        self._held: list[str] = []
        self._is_string = False
        self._is_over = False

    def feed(self, arguments: str) -> str:
        """Return the characters of the input that these arguments add."""
        if self._is_over:
            return ""
        if self._held:
            self._held.append(arguments)
            return ""
        self._waiting += arguments
        if not self._is_string:
            opening = self._opening.match(self._waiting)
            if opening is None:
                if len(self._waiting) > _LONGEST_OPENING or not _may_open(self._waiting, self._tokens):
                    self._held.append(self._waiting)
                return ""
            self._is_string, self._waiting = True, self._waiting[opening.end() :]
        return self._decoded()

    def rest(self) -> str:
        """Return the end of the input, which `feed` could not know: the call has ended, or was cut off."""
        if self._is_string:
            # Half an escape at the end of a call that was cut off is no character.
            return ""
        self._is_over = True
        return _input_of("".join(self._held) or self._waiting, self._name)

    def _decoded(self) -> str:
        text, at, found = self._waiting, 0, list[str]()
        while at < len(text):
            end = _next_special(text, at)
            found.append(text[at:end])
            at = end
            if at == len(text):
                break
            if text[at] == '"':
                self._is_over = True
                at = len(text)
                break
            character, length = _escaped(text, at)
            if length == 0:
                break
            found.append(character)
            at += length
        self._waiting = text[at:]
        return "".join(found)


_SPECIAL = re.compile(r'["\\]')


def _next_special(text: str, at: int) -> int:
    found = _SPECIAL.search(text, at)
    return found.start() if found is not None else len(text)


def _escaped(text: str, at: int) -> tuple[str, int]:
    """The character of the escape at this position, and the escape's length; 0 where its end has not arrived yet."""
    if at + 1 >= len(text):
        return "", 0
    kind = text[at + 1]
    if kind != "u":
        # An escape that JSON does not have (`\d`) is the model's own text.
        return _ESCAPES.get(kind, kind if kind in '"\\/' else f"\\{kind}"), 2
    length = 2 + _HEX_DIGITS
    if at + length > len(text):
        return ("", 0) if _is_hex(text[at + 2 :]) else ("\\u", 2)
    code = _code_at(text, at)
    if code is None:
        return "\\u", 2
    if code not in _HIGH:
        return (_REPLACEMENT if code in _LOW else chr(code)), length
    return _pair(text, at, code)


def _pair(text: str, at: int, high: int) -> tuple[str, int]:
    """The character of a surrogate pair, whose second half is an escape of its own."""
    length = 2 + _HEX_DIGITS
    second = text[at + length : at + 2 * length]
    if len(second) < length and (not second or ("\\u".startswith(second[:2]) and _is_hex(second[2:]))):
        return "", 0
    low = _code_at(text, at + length) if second.startswith("\\u") else None
    if low is None or low not in _LOW:
        return _REPLACEMENT, length
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)), 2 * length


def _code_at(text: str, at: int) -> int | None:
    digits = text[at + 2 : at + 2 + _HEX_DIGITS]
    return int(digits, 16) if len(digits) == _HEX_DIGITS and _is_hex(digits) else None


def _is_hex(digits: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in digits)


def _may_open(text: str, tokens: Sequence[str]) -> bool:
    """Whether more characters can make the text an opening."""
    left = text.lstrip()
    for token in tokens:
        if len(left) < len(token):
            return token.startswith(left)
        if not left.startswith(token):
            return False
        left = left[len(token) :].lstrip()
    return False


def _input_of(arguments: str, name: str) -> str:
    """The input in arguments that do not begin with it: the one text in them, or they themselves."""
    try:
        read: Any = json.loads(arguments, strict=False)
    except (ValueError, RecursionError):
        return arguments
    if isinstance(read, dict):
        found = read[name] if name in read else next(iter(read.values())) if len(read) == 1 else read
        if found is read:
            return arguments if read else ""
        read = found
    return whole_characters(read if isinstance(read, str) else json.dumps(read, ensure_ascii=False))
