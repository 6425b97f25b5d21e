"""The parameters of a function, for servers whose templates want an object with properties."""

from __future__ import annotations

from open_responses.json_types import JsonObject


def object_schema(parameters: JsonObject | None) -> JsonObject:
    """A schema of an object that has `properties`; one that is composed of others stays as it is."""
    schema = parameters or {}
    if any(key in schema for key in ("properties", "$ref", "anyOf", "oneOf", "allOf")):
        return schema
    return {"type": "object", **schema, "properties": {}}
