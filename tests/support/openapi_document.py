"""The served OpenAPI document, and the check of an answer against it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from api.openapi.document import document

Json = dict[str, Any]
METHODS = ("get", "post", "delete", "put", "patch")


@cache
def validator(name: str) -> Draft202012Validator:
    resource = Resource.from_contents(document(), default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:served", resource)
    return Draft202012Validator({"$ref": f"urn:served#/components/schemas/{name}"}, registry=registry)


@cache
def _quick_validator(name: str) -> jsonschema_rs.Draft202012Validator:
    """Takes a hundredth of the time, and says less of what is wrong."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": json.loads(json.dumps(document()["components"]))}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=False, offline=True)


def problem(schema: Json, value: Any) -> str | None:
    """What the served schema says against a value."""
    name = schema["$ref"].rpartition("/")[2]
    if _quick_validator(name).is_valid(value):
        return None
    error = next(validator(name).iter_errors(value), None)
    return "one of two validators refuses it" if error is None else f"{error.json_path}: {error.message[:300]}"


def operations() -> dict[tuple[str, str], Json]:
    return {
        (method.upper(), path): told
        for path, methods in document()["paths"].items()
        for method, told in methods.items()
        if method in METHODS or method == "head"
    }
