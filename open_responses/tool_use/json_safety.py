"""Checks whether a value, read from JSON or returned by a tool's code, can be written as JSON again.

What this prevents: arguments or a schema that one library reads and another rejects when it writes them, in the middle
of a workflow, where the error can no longer be a 400.
"""

from __future__ import annotations

import math

from pydantic_core import PydanticSerializationError, to_json

MAX_DEPTH = 64
"""Levels of objects and arrays. Libraries write at most some 250, and this server puts the value into other objects."""
_TOO_DEEP = f"it is nested more than {MAX_DEPTH} levels deep"


def writing_problem(value: object) -> str | None:
    """Why a value cannot be written as JSON, as in "it is nested more than 64 levels deep"; None if it can."""
    problem = _shape_problem(value)
    if problem is not None:
        return problem
    try:
        to_json(value)
    except PydanticSerializationError as error:
        if "surrogates" in str(error):
            return "it holds half of a surrogate pair, which is not a character"
        return "it holds what JSON has no form for"
    return None


def whole_characters(text: str) -> str:
    """The text with each lone half of a surrogate pair replaced, which UTF-8 cannot encode."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def too_deep(value: object) -> bool:
    """Whether a value has more than `MAX_DEPTH` levels."""
    return _shape_problem(value) == _TOO_DEEP


def _shape_problem(value: object) -> str | None:
    """The problem with the nesting or the numbers. Goes level by level: recursion would fail in a deep value."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[object] = []
        for node in level:
            if isinstance(node, dict):
                inner += node.values()
            elif isinstance(node, list | tuple):
                inner += node
            elif isinstance(node, float) and not math.isfinite(node):
                return "it holds a number that is not finite"
        if not inner:
            return None
        level = inner
    return _TOO_DEEP
