"""The schema of a function's arguments with a plain object at its root, as every vendor wants it.

Anthropic and OpenAI refuse `anyOf`, `oneOf` and `allOf` there, Gemini wants an object, and Ollama ignores what has no
`properties`. The branches' properties are joined, and the description says which of them go together.
"""

from __future__ import annotations

import json
from typing import Any

from activities.providers.shared.json_objects import as_object
from open_responses.json_types import JsonObject

_UNIONS = ("allOf", "anyOf", "oneOf")
_NOT_AT_THE_ROOT = frozenset({*_UNIONS, "$ref", "const", "enum", "not"})
# References and unions inside of a branch are followed this deep.
_MAX_DEPTH = 8
# Branches in all: eight levels of a hundred references each would never end.
_MAX_BRANCHES = 200
_MAX_NOTE_CHARACTERS = 2000


def has_plain_root(schema: JsonObject) -> bool:
    """Whether the root has none of the keywords that vendors refuse there."""
    return _NOT_AT_THE_ROOT.isdisjoint(schema)


def plain_root(schema: JsonObject) -> tuple[JsonObject, str | None]:
    """(the schema with an object at its root, a note about what the object does not say).

    The given schema is not changed. A schema that has an object at its root already keeps all of its members.
    """
    if has_plain_root(schema):
        return {"type": "object", **schema, "properties": as_object(schema.get("properties"))}, None
    joined = _Joined(schema)
    joined.add(schema)
    kept = {key: value for key, value in schema.items() if key not in _NOT_AT_THE_ROOT}
    root: JsonObject = {**kept, "type": "object", "properties": joined.properties}
    root.pop("required", None)
    return root | ({"required": joined.required} if joined.required else {}), _note(schema)


def _note(schema: JsonObject) -> str | None:
    """The unions of which exactly one branch, or at least one, has to hold."""
    said = {key: schema[key] for key in ("anyOf", "oneOf", "not") if key in schema}
    if not said:
        return None
    note = f"The arguments must be valid against this JSON Schema, too: {json.dumps(said, ensure_ascii=False)}"
    return note if len(note) <= _MAX_NOTE_CHARACTERS else None


class _Joined:
    """The properties of a schema and of its branches, and the required ones."""

    def __init__(self, root: JsonObject) -> None:
        self.properties: JsonObject = {}
        self.required: list[str] = []
        self._root = root
        self._left = _MAX_BRANCHES

    def add(self, schema: JsonObject) -> None:
        self.required = self._add(schema, _MAX_DEPTH)

    def _add(self, schema: JsonObject, depth: int) -> list[str]:
        """Add the properties of a schema. Returns the names that each of its values has."""
        self._left -= 1
        if depth == 0 or self._left < 0:
            return []
        for name, found in as_object(schema.get("properties")).items():
            self.properties[name] = _either(self.properties[name], found) if name in self.properties else found
        required = [name for name in _list(schema, "required") if isinstance(name, str)]
        target = self._at(schema.get("$ref"))
        if target is not None:
            required += self._add(target, depth - 1)
        for branch in _list(schema, "allOf"):
            required += self._add(as_object(branch), depth - 1)
        for union in ("anyOf", "oneOf"):
            each = [self._add(as_object(branch), depth - 1) for branch in _list(schema, union)]
            required += [name for name in (each[0] if each else []) if all(name in names for names in each)]
        return list(dict.fromkeys(required))

    def _at(self, pointer: Any) -> JsonObject | None:
        """The schema that a reference within the document names."""
        if not isinstance(pointer, str) or not pointer.startswith("#/"):
            return None
        found: Any = self._root
        for step in pointer[2:].split("/"):
            found = as_object(found).get(step.replace("~1", "/").replace("~0", "~"))
        return found if isinstance(found, dict) else None


def _list(schema: JsonObject, key: str) -> list[Any]:
    found = schema.get(key)
    return found if isinstance(found, list) else []


def _either(one: Any, other: Any) -> Any:
    """A property that two branches describe. A discriminator has another `const` in each."""
    if one == other or other in ({}, True):
        return one
    if one in ({}, True):
        return other
    known = one["anyOf"] if isinstance(one, dict) and set(one) == {"anyOf"} else [one]
    return {"anyOf": known if other in known else [*known, other]}
