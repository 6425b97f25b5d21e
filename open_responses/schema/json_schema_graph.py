"""The subschemas of a JSON Schema as a graph: each once, with the subschemas that it applies.

Keywords: JSON Schema 2020-12, core and validation, and those of draft 4 to 2019-09 that validators still apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from open_responses.json_types import JsonObject

_PATTERN_COST = 50
"""A pattern compiles in 70 microseconds, some 50 times a keyword."""
_FOREIGN_COST = 1000
"""A reference to another document. No document is fetched, but validators have the meta-schemas built in."""
_CHARACTERS_PER_STEP = 64

REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# Each keyword that holds subschemas. "same": they are applied to the value that the schema is applied to; "inner": to
# the values inside it. Definitions are applied where they are referred to.
_SAME = frozenset(
    {"not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies", "extends", "disallow"}
)
_INNER = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "items",
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_MAPS = frozenset({"dependentSchemas", "dependencies", "properties", "patternProperties"})
_COMPARED = ("enum", "const", "required", "dependentRequired")
_ANCHORS = ("$anchor", "$dynamicAnchor")

_PLAIN = frozenset(
    {
        "$comment",
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "default",
        "definitions",
        "deprecated",
        "description",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "oneOf",
        "prefixItems",
        "properties",
        "readOnly",
        "required",
        "title",
        "type",
        "writeOnly",
    }
)


@dataclass(slots=True)
class Node:
    """One subschema: its own cost, and the numbers of the subschemas that it applies."""

    own: int = 1
    factor: int = 1
    same: list[int] = field(default_factory=list)
    inner: list[int] = field(default_factory=list)


class SchemaGraph:
    """The subschemas that are reachable from the root, each once."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._numbers: dict[int, int] = {id(root): 0}
        self._schemas: list[JsonObject] = [root]
        self._anchors: dict[str, list[JsonObject]] | None = None
        self.nodes: list[Node] = []
        self.is_plain = True
        while len(self.nodes) < len(self._schemas):
            self.nodes.append(self._read(self._schemas[len(self.nodes)]))

    def _read(self, schema: JsonObject) -> Node:
        node = Node()
        for key, value in schema.items():
            if key not in _PLAIN:
                self.is_plain = False
            if key in REFERENCES and isinstance(value, str):
                for target in self._targets(value):
                    node.same.append(self._number(target))
                node.own += 1 if value.startswith("#") else _FOREIGN_COST
            elif key in _SAME or key in _INNER:
                applied = node.same if key in _SAME else node.inner
                for one in _subschemas(key, value):
                    if isinstance(one, dict):
                        applied.append(self._number(one))
                    else:
                        node.own += 1
            elif key in _COMPARED:
                node.own += _size(value)
            if key == "pattern":
                node.own += _pattern_cost(value)
            elif key == "patternProperties" and isinstance(value, dict):
                node.own += sum(map(_pattern_cost, value))
            elif key in ("unevaluatedItems", "unevaluatedProperties"):
                # The keywords beside it are applied once more, to find the values that they have evaluated.
                node.factor = 2
        return node

    def _number(self, schema: JsonObject) -> int:
        number = self._numbers.setdefault(id(schema), len(self._schemas))
        if number == len(self._schemas):
            self._schemas.append(schema)
        return number

    # --- references

    def _targets(self, reference: str) -> list[JsonObject]:
        """Every subschema that a reference can name; empty for another document.

        These are several if an anchor is defined more than once.
        """
        if reference in ("#", ""):
            return [self._root]
        if reference.startswith("#/"):
            found = self._at(reference)
            return [found] if found is not None else []
        return self._anchored().get(unquote(reference[1:]), []) if reference.startswith("#") else []

    def _at(self, pointer: str) -> JsonObject | None:
        node: Any = self._root
        for step in pointer.split("/")[1:]:
            name = (unquote(step) if "%" in step else step).replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdigit() and len(name) < 8 and int(name) < len(node):
                node = node[int(name)]
            else:
                return None
        return node if isinstance(node, dict) else None

    def _anchored(self) -> dict[str, list[JsonObject]]:
        """The anchors of the whole document, by name."""
        if self._anchors is None:
            self._anchors = {}
            for schema in objects(self._root):
                for key in _ANCHORS:
                    name = schema.get(key)
                    if isinstance(name, str):
                        self._anchors.setdefault(name, []).append(schema)
        return self._anchors


def _subschemas(key: str, value: Any) -> Iterable[Any]:
    """The subschemas that a keyword holds: a map's values, a list's entries, or the value itself."""
    if isinstance(value, dict):
        return value.values() if key in _MAPS else (value,)
    return value if isinstance(value, list) else (value,)


def objects(root: JsonObject) -> Iterator[JsonObject]:
    """Every object in a schema, whether it is a subschema or not."""
    waiting: list[Any] = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _size(value: Any) -> int:
    """The number of values, and the cost of comparing long texts."""
    size, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        size += 1
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            size += len(one) // _CHARACTERS_PER_STEP
    return size


def _pattern_cost(pattern: Any) -> int:
    return _PATTERN_COST + (len(pattern) if isinstance(pattern, str) else 0)
