r"""Checks that the grammar of a custom tool is one, before a response starts.

OpenAI compiles a Lark grammar or a regular expression. Its dialects have more than Python's (`\p{L}`, inline regular
expressions), so only faults are rejected here that no dialect accepts.
"""

from __future__ import annotations

import re
import warnings
from typing import Literal

from open_responses.schema.validation import fault

MAX_GRAMMAR = 65_536
"""Ours, in characters. The largest grammars of known clients have some thousand."""

_STRUCTURAL = (
    "unterminated character set",
    "missing ), unterminated subpattern",
    "unbalanced parenthesis",
    "nothing to repeat",
    "bad escape (end of pattern)",
)
# A string, a regular expression between slashes, or a comment: brackets within them do not count.
_LARK_TEXT = re.compile(
    r'"(?:\\.|[^"\\\n])*"i?|/(?!/)(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+/[imslux]*|//[^\n]*|#[^\n]*'
)
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
    if not definition:
        return "it is empty"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(definition)
    except re.error as error:
        return error.msg if error.msg in _STRUCTURAL else None
    except (RecursionError, OverflowError):
        return "it is nested too deeply"
    return None


def _lark_problem(definition: str) -> str | None:
    if not definition.strip():
        return "it is empty"
    bare = _LARK_TEXT.sub(" ", definition)
    if not _LARK_RULE.search(bare):
        return "it has no rule (`start: …`)"
    if not _LARK_START.search(bare):
        return "it has no rule named 'start'"
    return _bracket_problem(bare)


def _bracket_problem(text: str) -> str | None:
    opened: list[str] = []
    for character in text:
        if character in "([{":
            opened.append(character)
        elif character in _PAIRS and (not opened or opened.pop() != _PAIRS[character]):
            return f"a '{character}' closes nothing"
    return f"a '{opened[-1]}' is not closed" if opened else None
