"""JSON Schema in Gemini's dialect: `parametersJsonSchema`, `responseJsonSchema`.

What this prevents: a 400 for a keyword that Gemini does not know. Known keywords stay unchanged. Constraints that
Gemini does not know become a part of the description. Recursion stays a `$ref`, which Gemini unrolls itself.

Sources: ai.google.dev/api/generate-content (the keywords listed at `responseJsonSchema`; "if $ref is set no other
properties may be set"; `const` is not among them); for what is refused in practice pydantic-ai's `profiles/google.py`
(titles, formats, exclusive bounds) and vercel/ai's `sanitize-response-json-schema.ts` (`const`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from activities.providers.shared.json_objects import as_object
from open_responses.json_types import JsonObject

_KEPT = frozenset(
    {
        "additionalProperties",
        "anyOf",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maximum",
        "minItems",
        "minimum",
        "prefixItems",
        "properties",
        "required",
        "type",
    }
)
_TOLD = (
    "pattern",
    "minLength",
    "maxLength",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "default",
)
_FORMATS = frozenset({"date-time", "date", "time"})
# A reference to a place outside of `$defs` is replaced by its target to this depth, and by any value below.
_MAX_INLINED = 4
# The most subschemas in all: four levels of a hundred references each would be a hundred million.
_MAX_INLINED_SCHEMAS = 5_000


def gemini_schema(schema: JsonObject) -> JsonObject:
    """Return the schema in Gemini's dialect, or any object for a schema that is nested too deeply. The given schema is
    not changed."""
    try:
        return _Dialect(schema).translated()
    except RecursionError:
        return {"type": "object"}


class _Dialect:
    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._inlined = 0
        self._left = _MAX_INLINED_SCHEMAS

    def translated(self) -> JsonObject:
        definitions = {**as_object(self._root.get("definitions")), **as_object(self._root.get("$defs"))}
        schema = self._schema(self._root)
        if definitions and "$ref" in json.dumps(schema):
            schema["$defs"] = {name: self._schema(definition) for name, definition in definitions.items()}
        return schema

    def _schema(self, given: Any) -> JsonObject:
        if not isinstance(given, dict):
            return {}
        self._left -= 1 if self._inlined else 0
        schema = self._one_of_all(_as_any_of(given))
        if isinstance(schema.get("$ref"), str):
            return self._reference(schema)
        kept = {key: value for key, value in schema.items() if key in _KEPT}
        _tell(kept, schema)
        _fix_values(kept, schema)
        self._fix_children(kept, schema)
        return kept

    def _fix_children(self, kept: JsonObject, schema: JsonObject) -> None:
        if isinstance(schema.get("items"), list):
            kept["prefixItems"] = kept.pop("items")
        for key in ("anyOf", "prefixItems"):
            if isinstance(kept.get(key), list):
                kept[key] = [self._schema(one) for one in kept[key]]
        for key in ("items", "additionalProperties"):
            if isinstance(kept.get(key), dict):
                kept[key] = self._schema(kept[key])
        if isinstance(kept.get("items"), bool):
            del kept["items"]
        if "properties" in kept:
            kept["properties"] = {name: self._schema(value) for name, value in as_object(kept["properties"]).items()}
        if "required" in kept:
            wanted, known = kept.pop("required"), kept.get("properties", {})
            names = [name for name in wanted if name in known] if isinstance(wanted, list) else []
            kept |= {"required": names} if names else {}

    def _reference(self, schema: JsonObject) -> JsonObject:
        """Return a `$ref` without siblings, because Gemini accepts none. The siblings go into a schema around it."""
        target = _definition_name(schema["$ref"])
        beside = {key: value for key, value in schema.items() if key in ("description", "default")}
        if target is None:
            return self._inline(schema["$ref"], beside)
        reference: JsonObject = {"$ref": f"#/$defs/{target}"}
        if not beside:
            return reference
        around: JsonObject = {"anyOf": [reference]}
        if "description" in beside:
            around["description"] = beside["description"]
        _tell(around, beside)
        return around

    def _inline(self, pointer: str, beside: JsonObject) -> JsonObject:
        found = self._at(pointer)
        if found is None or self._inlined >= _MAX_INLINED or self._left <= 0:
            return {"description": beside["description"]} if "description" in beside else {}
        self._inlined += 1
        try:
            return self._schema({**found, **beside})
        finally:
            self._inlined -= 1

    def _at(self, pointer: str) -> JsonObject | None:
        """Return the target of a JSON pointer into this document; None for another document."""
        if not pointer.startswith("#"):
            return None
        node: Any = self._root
        for step in pointer.removeprefix("#").split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(node, list) and name.isdigit() and int(name) < len(node):
                node = node[int(name)]
            elif isinstance(node, dict) and name in node:
                node = node[name]
            else:
                return None
        return node if isinstance(node, dict) else None

    def _one_of_all(self, schema: JsonObject) -> JsonObject:
        """Return `allOf` as one schema, with the constraints of all branches."""
        parts = schema.get("allOf")
        if not isinstance(parts, list):
            return schema
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        if len(parts) == 1 and isinstance(parts[0], dict) and "properties" not in rest:
            return self._one_of_all({**parts[0], **rest})
        resolved = [
            self._at(part["$ref"]) if isinstance(part, dict) and isinstance(part.get("$ref"), str) else part
            for part in parts
        ]
        return _joined([rest, *(part for part in resolved if isinstance(part, dict))])


def _as_any_of(schema: JsonObject) -> JsonObject:
    """Gemini reads `oneOf` as `anyOf`."""
    if "oneOf" not in schema or "anyOf" in schema:
        return schema
    return {("anyOf" if key == "oneOf" else key): value for key, value in schema.items()}


def _joined(schemas: Sequence[JsonObject]) -> JsonObject:
    """Return the constraints of all schemas. If two schemas have the same keyword, the first counts. Their own `allOf`
    is left out."""
    joined: JsonObject = {}
    properties: JsonObject = {}
    required: dict[Any, None] = {}
    for schema in schemas:
        for key, value in schema.items():
            if key == "properties":
                for name, inner in as_object(value).items():
                    properties.setdefault(name, inner)
            elif key == "required":
                required |= dict.fromkeys(value if isinstance(value, list) else ())
            elif key != "allOf":
                joined.setdefault(key, value)
    if any("properties" in schema for schema in schemas):
        joined["properties"] = properties
    if any("required" in schema for schema in schemas):
        joined["required"] = list(required)
    return joined


def _fix_values(kept: JsonObject, schema: JsonObject) -> None:
    """`const`, `enum` and `nullable`: Gemini's `enum` holds texts and numbers alone."""
    values = [schema["const"]] if "const" in schema else kept.pop("enum", None)
    if isinstance(values, list):
        named = [value for value in values if isinstance(value, str | int | float) and not isinstance(value, bool)]
        flags = [value for value in values if isinstance(value, bool)]
        if "type" not in kept:
            kept["type"] = _type_of(values)
        if named and not flags:
            kept["enum"] = named
        if len(flags) == 1 and not named:
            _add_to_description(kept, f"always {json.dumps(flags[0])}")
        if None in values:
            _allow_null(kept)
    if schema.get("nullable") is True:
        _allow_null(kept)
    if kept.get("type") is None:
        kept.pop("type", None)


def _type_of(values: Sequence[Any]) -> Any:
    names = {bool: "boolean", str: "string", int: "integer", float: "number", dict: "object", list: "array"}
    found = list(dict.fromkeys(names[type(value)] for value in values if type(value) in names))
    if not found:
        return "null" if None in values else None
    return found[0] if len(found) == 1 else found


def _allow_null(kept: JsonObject) -> None:
    kind = kept.get("type")
    if isinstance(kind, str) and kind != "null":
        kept["type"] = [kind, "null"]
    elif isinstance(kind, list) and "null" not in kind:
        kept["type"] = [*kind, "null"]
    elif kind is None and isinstance(kept.get("anyOf"), list):
        kept["anyOf"] = [*kept["anyOf"], {"type": "null"}]


def _tell(kept: JsonObject, schema: Mapping[str, Any]) -> None:
    """Add constraints without a keyword to the description."""
    notes = [f"{name}: {json.dumps(schema[name], ensure_ascii=False)}" for name in _TOLD if name in schema]
    if "format" in kept and kept["format"] not in _FORMATS:
        notes.append(f"format: {kept.pop('format')}")
    if notes:
        _add_to_description(kept, ", ".join(notes))


def _add_to_description(kept: JsonObject, note: str) -> None:
    before = kept.get("description")
    kept["description"] = f"{before} ({note})" if before else f"({note})"


def _definition_name(pointer: str) -> str | None:
    for prefix in ("#/$defs/", "#/definitions/"):
        name = pointer.removeprefix(prefix)
        if name != pointer and name and "/" not in name:
            return name
    return None
