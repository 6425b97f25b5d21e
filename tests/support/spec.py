"""The specification's own schema, which checks each answer of the server.

It is read from a path, since it is not part of the project. Without the file, tests of the schema alone are
skipped. All others run, and `validate`, `validate_response` and `validate_event` check nothing.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from open_responses.schema.client_items import CLIENT_ITEM_TYPES
from open_responses.schema.items import PROVIDER_ITEM_TYPES
from open_responses.schema.tools import ALL_PROVIDER_TOOLS

SLUG = "open_responses:"
SPEC_PATH = Path(
    os.environ.get("OPEN_RESPONSES_SPEC")
    or Path(__file__).resolve().parents[2] / ".." / "shared" / "spec" / "openapi-2026-04-24.json"
)

needs_spec = pytest.mark.skipif(
    not SPEC_PATH.is_file(),
    reason=f"the specification's schema is not at {SPEC_PATH}; name it by OPEN_RESPONSES_SPEC",
)


@cache
def document() -> dict[str, Any]:
    if not SPEC_PATH.is_file():
        pytest.skip(f"the specification's schema is not at {SPEC_PATH}; name it by OPEN_RESPONSES_SPEC")
    loaded: dict[str, Any] = json.loads(SPEC_PATH.read_text(encoding="utf-8"))
    return loaded


@cache
def validator_for(schema_name: str) -> Draft202012Validator:
    """A compiled validator of `#/components/schemas/<schema_name>`."""
    if schema_name not in document()["components"]["schemas"]:
        raise KeyError(f"the specification has no schema {schema_name!r}")
    return Draft202012Validator({"$ref": f"urn:spec#/components/schemas/{schema_name}"}, registry=_registry())


@cache
def _quick_validator_for(schema_name: str) -> jsonschema_rs.Draft202012Validator:
    """Takes a hundredth of the time, since every event of every test is checked, and says less of what is wrong."""
    schema = {"$ref": f"#/components/schemas/{schema_name}", "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=False, offline=True)


@cache
def _registry() -> Registry[Any]:
    resource = Resource.from_contents(document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:spec", resource)
    return registry


@cache
def event_schemas() -> dict[str, str]:
    """Event type -> name of its schema."""
    return {
        schema["properties"]["type"]["enum"][0]: name
        for name, schema in document()["components"]["schemas"].items()
        if name.endswith("StreamingEvent")
    }


def validate(schema_name: str, value: object) -> None:
    """Fails with the place in `value` that the schema refuses, branches of unions included."""
    if not SPEC_PATH.is_file() or _quick_validator_for(schema_name).is_valid(value):
        return
    error = next(validator_for(schema_name).iter_errors(value), None)
    assert error is not None, f"one of two validators finds that this is not a valid {schema_name}: {value}"
    causes = "\n".join(f"  {cause.json_path}: {cause.message[:200]}" for cause in error.context or ())
    raise AssertionError(f"not a valid {schema_name}, at {error.json_path}: {error.message[:500]}\n{causes}")


# OpenAI's items, tools and events that the specification does not have; ours carry the slug (ITEM-1, EXT-1).
FOREIGN_ITEMS = {"mcp_list_tools", "mcp_call", "mcp_approval_request", *CLIENT_ITEM_TYPES} | {
    kind for kinds in PROVIDER_ITEM_TYPES.values() for kind in kinds
}
FOREIGN_EVENTS = {
    f"response.{name}"
    for name in (
        "mcp_list_tools.in_progress",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_call.in_progress",
        "mcp_call.completed",
        "mcp_call.failed",
        "mcp_call_arguments.delta",
        "mcp_call_arguments.done",
        "web_search_call.in_progress",
        "web_search_call.searching",
        "web_search_call.completed",
        "file_search_call.in_progress",
        "file_search_call.searching",
        "file_search_call.completed",
        "code_interpreter_call.in_progress",
        "code_interpreter_call.interpreting",
        "code_interpreter_call.completed",
        "code_interpreter_call_code.delta",
        "code_interpreter_call_code.done",
        "image_generation_call.in_progress",
        "image_generation_call.generating",
        "image_generation_call.completed",
        "image_generation_call.partial_image",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "shell_call_command.added",
        "shell_call_command.delta",
        "shell_call_command.done",
    )
}
# Files that a search has found, and that code has written, are cited in OpenAI's form: the specification has citations
# of web pages alone.
FOREIGN_ANNOTATIONS = {
    "file_citation": {"file_id", "filename", "index"},
    "container_file_citation": {"container_id", "file_id", "filename", "start_index", "end_index"},
}
# The types of tools that a client may force, beside functions and lists of tools.
_FOREIGN_CHOICES = ALL_PROVIDER_TOOLS
_STAND_IN = {"type": "function_call", "id": "x", "call_id": "x", "name": "x", "arguments": "", "status": "completed"}


def validate_response(resource: Any) -> None:
    """With items and tools from outside the specification checked for what every item has, and left out."""
    validate("ResponseResource", _inside(resource))


def _inside(resource: dict[str, Any]) -> dict[str, Any]:
    """The part of a response that the specification knows."""
    return {
        **resource,
        "output": [_checked(item) for item in resource["output"]],
        "tools": [tool for tool in resource["tools"] if tool.get("type", "function") == "function"],
        "tool_choice": _checked_choice(resource["tool_choice"]),
    }


def validate_event(event: dict[str, Any]) -> None:
    """By its `type`. An unknown type must be an extension of ours, with a type and a sequence number (EXT-1)."""
    kind = event.get("type")
    if isinstance(kind, str) and (kind.startswith(SLUG) or kind in FOREIGN_EVENTS):
        assert isinstance(event.get("sequence_number"), int), f"an extension event without sequence_number: {event}"
        return
    if not SPEC_PATH.is_file():
        return
    assert kind in event_schemas(), f"the specification has no event {kind!r}, and it does not carry {SLUG!r}"
    inside = dict(event)
    if "item" in event:
        inside["item"] = _checked(event["item"])
    if "response" in event:
        validate_response(event["response"])
        inside["response"] = _inside(event["response"])
    if "annotation" in event:
        inside["annotation"] = next(iter(_checked_annotations([event["annotation"]])), None)
    if "part" in event:
        inside["part"] = _checked_part(event["part"])
    validate(event_schemas()[str(kind)], inside)


def _checked(item: dict[str, Any]) -> dict[str, Any]:
    """The item, or a stand-in for one that the specification does not know."""
    if item["type"] == "message" and isinstance(item.get("content"), list):
        return {**item, "content": [_checked_part(part) for part in item["content"]]}
    if item["type"] not in FOREIGN_ITEMS and not item["type"].startswith(SLUG):
        return item
    assert item["id"], item
    assert item["status"] in ("in_progress", "completed", "incomplete", "failed"), item
    return _STAND_IN


def _checked_part(part: dict[str, Any]) -> dict[str, Any]:
    annotations = part.get("annotations")
    return part if not annotations else {**part, "annotations": _checked_annotations(annotations)}


def _checked_annotations(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that the specification knows; the others are checked for their members, and left out."""
    for annotation in annotations:
        members = FOREIGN_ANNOTATIONS.get(annotation["type"])
        assert members is None or annotation.keys() == {"type", *members}, annotation
    return [annotation for annotation in annotations if annotation["type"] not in FOREIGN_ANNOTATIONS]


def _checked_choice(choice: Any) -> Any:
    """The choice; `auto` for one that names a built-in tool, which the specification does not have."""
    if not isinstance(choice, dict):
        return choice
    if choice["type"] in _FOREIGN_CHOICES:
        assert choice.keys() == {"type"}, choice
        return "auto"
    if choice["type"] == "allowed_tools":
        return {**choice, "tools": [tool for tool in choice["tools"] if tool["type"] not in _FOREIGN_CHOICES]}
    return choice
