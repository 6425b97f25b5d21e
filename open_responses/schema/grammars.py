r"""Checks that the grammar of a custom tool is one, before a response starts.

OpenAI compiles a Lark grammar or a regular expression. Its dialects have more than Python's (`\p{L}`, inline regular
expressions), so only faults are rejected here that no dialect accepts.
"""

from __future__ import annotations

import re
from typing import Literal

from open_responses.schema.validation import fault

MAX_GRAMMAR = 65_536
"""Ours, in characters. The largest grammars of known clients have some thousand."""

# An escape, a class, the beginning of a group with its prefix, or any other character.
_REGEX_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[^:)=!>]*[:=!>]?|.", re.DOTALL)
# A class within a class, and comments in an expression: dialects differ in where these end.
_DIALECT = re.compile(r"\[[^\]]*\[|\(\?[a-zA-Z]*x")
_LARK_RULE = re.compile(r"^[ \t]*[?!]*_?[A-Za-z]\w*(?:\{[^}\n]*\})?(?:\.-?\d+)?(?:\[[^\]\n]*\])?[ \t]*:", re.MULTILINE)
_LARK_START = re.compile(r"^[ \t]*[?!]*start(?:\.-?\d+)?(?:\[[^\]\n]*\])?[ \t]*:", re.MULTILINE)
_PAIRS = {")": "(", "]": "[", "}": "{"}


def check_grammar(syntax: Literal["lark", "regex"], definition: str) -> None:
    """Check a grammar's definition; otherwise a `fault` at `definition`."""
    problem = _regex_problem(definition) if syntax == "regex" else _lark_problem(definition)
    if problem is not None:
        raise fault("invalid_value", f"is not a {_SPOKEN[syntax]}: {problem}. Correct it", field="definition")


_SPOKEN = {"lark": "Lark grammar", "regex": "regular expression"}


def _regex_problem(definition: str) -> str | None:
    """Read, and not compiled: Python takes minutes to compile some short expressions."""
    if not definition:
        return "it is empty"
    if _DIALECT.search(definition):
        return None
    opened = 0
    may_repeat = False
    for token in _REGEX_TOKEN.finditer(definition):
        text = token.group()
        if text in ("[", "\\"):
            return "a character class is not closed" if text == "[" else "it ends in the middle of an escape"
        if text[0] in "*+?" and not may_repeat:
            return f"there is nothing that '{text[0]}' could repeat"
        opened += (text[0] == "(") - (text == ")")
        if opened < 0:
            return "a ')' closes nothing"
        may_repeat = text[0] not in "(|"
    return "a '(' is not closed" if opened else None


def _lark_problem(definition: str) -> str | None:
    if not definition.strip():
        return "it is empty"
    bare = "\n".join(map(_without_texts, definition.splitlines()))
    if not _LARK_RULE.search(bare):
        return "it has no rule (`start: …`)"
    if not _LARK_START.search(bare):
        return "it has no rule named 'start'"
    return _bracket_problem(bare)


def _without_texts(line: str) -> str:
    """A line without its strings, its regular expressions and its comment, whose brackets do not count.

    Each character is read once: a regular expression would begin anew at every delimiter that is not closed.
    """
    kept: list[str] = []
    held: list[str] = []
    delimiter, is_escaped = "", False
    for index, character in enumerate(line):
        if delimiter:
            held.append(character)
            if character == delimiter and not is_escaped:
                delimiter = ""
                held.clear()
            is_escaped = character == "\\" and not is_escaped
        elif character == "#" or line.startswith("//", index):
            break
        elif character in '"/':
            delimiter, is_escaped = character, False
        else:
            kept.append(character)
    return "".join(kept) + "".join(held)


def _bracket_problem(text: str) -> str | None:
    opened: list[str] = []
    for character in text:
        if character in "([{":
            opened.append(character)
        elif character in _PAIRS and (not opened or opened.pop() != _PAIRS[character]):
            return f"a '{character}' closes nothing"
    return f"a '{opened[-1]}' is not closed" if opened else None
