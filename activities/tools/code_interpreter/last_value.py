"""Prints the value of a last line that is an expression, as an interactive interpreter does.

The value must not leave the sandbox as an object: a list of ten million numbers would fill the worker's process. So the
code itself prints it. The code is cut into tokens, and never compiled or run by the worker's own Python.
"""

from __future__ import annotations

import io
import tokenize

_STATEMENTS = frozenset(
    [
        "assert",
        "async",
        "break",
        "class",
        "continue",
        "def",
        "del",
        "for",
        "from",
        "global",
        "if",
        "import",
        "nonlocal",
        "pass",
        "raise",
        "return",
        "try",
        "while",
        "with",
        "@",
    ]
)
_ASSIGNMENTS = frozenset(
    ("=", ":", ";", "+=", "-=", "*=", "/=", "//=", "%=", "@=", "&=", "|=", "^=", ">>=", "<<=", "**=", "->")
)
_EMPTY = (tokenize.NL, tokenize.COMMENT, tokenize.ENCODING, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_LONGEST = 200_000


def with_last_value(code: str) -> str:
    """The code, which also prints the value of its last line if that is an expression. Its own value is None."""
    row = _last_expression(code)
    if row is None:
        return f"{code}\nNone"
    lines = code.splitlines(keepends=True)
    head, last = "".join(lines[:row]), "".join(lines[row:]).rstrip()
    return f"{head}_ = ({last}\n)\nif _ is not None:\n    print(repr(_))\nNone"


def _last_expression(code: str) -> int | None:
    """The index of the line at which the last logical line begins, if it is an expression at the left margin."""
    if len(code) > _LONGEST:
        return None
    begins: int | None = None
    is_expression, depth, level, at_start = False, 0, 0, True
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            level += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
            if token.type in _EMPTY:
                continue
            if token.type == tokenize.NEWLINE:
                at_start = True
                continue
            if at_start:
                begins, at_start, depth = token.start[0] - 1, False, 0
                is_expression = level == 0 and token.string not in _STATEMENTS
            depth += (token.string in "([{") - (token.string in ")]}") if token.type == tokenize.OP else 0
            if depth == 0 and token.type == tokenize.OP and token.string in _ASSIGNMENTS:
                is_expression = False
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    if begins is None or not is_expression or _differs_in_lines(code):
        return None
    return begins


def _differs_in_lines(code: str) -> bool:
    """Whether the code has a line end that only `str.splitlines` counts, so that the row would be another one."""
    return len(code.splitlines()) != len(io.StringIO(code).readlines())
