"""OpenAI's strict mode: every property is required, and an optional one may be null instead.

Source: platform.openai.com/docs/guides/function-calling, "strict mode".
"""

from __future__ import annotations

from typing import Any

from open_responses.json_types import JsonObject


def made_strict(schema: JsonObject) -> JsonObject:
    """The schema in the form of strict mode. A schema that is strict already stays equal."""
    made: JsonObject = _strict(schema)
    return made


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(child) for child in node]
    if not isinstance(node, dict):
        return node
    made = {key: _strict(child) for key, child in node.items() if key != "default"}
    if isinstance(made.get("properties"), dict):
        required = set(node.get("required", []))
        made["properties"] = {
            name: child if name in required else _nullable(child) for name, child in made["properties"].items()
        }
        made["required"] = list(made["properties"])
        made["additionalProperties"] = False
    return made


def _nullable(schema: JsonObject) -> JsonObject:
    if schema.get("type") == "null" or any(option.get("type") == "null" for option in schema.get("anyOf", [])):
        return schema
    return {"anyOf": [schema, {"type": "null"}]}
