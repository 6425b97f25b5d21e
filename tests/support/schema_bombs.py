"""Schemas and answers that keep a validator busy, for tests."""

from __future__ import annotations

from typing import Any

# How often it is applied depends on the depth of the answer, which no bound on the schema knows.
ENDLESS: dict[str, Any] = {
    "type": "object",
    "$defs": {"e": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/e"}}] * 2 + [{"type": "null"}]}},
    "properties": {"a": {"$ref": "#/$defs/e"}},
}


def endless_answer() -> str:
    """Valid JSON that does not fit `ENDLESS`, after 2^60 steps."""
    return '{"a":' + "[" * 60 + "1" + "]" * 60 + "}"


# The pattern is quadratic in the length of the text.
SLOW: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(?=a)a*b"}}}


def slow_answer() -> str:
    """Valid JSON that does not fit `SLOW`, after some 2 * 10^10 steps."""
    return '{"a":"' + "a" * 200_000 + '"}'


def exploding(levels: int = 41) -> dict[str, Any]:
    """Each definition is both of two references to the next: 3 KB of text, and 2^41 steps."""
    definitions: dict[str, Any] = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(levels)}
    return {"type": "object", "$defs": {**definitions, f"d{levels}": {}}, "$ref": "#/$defs/d0"}
