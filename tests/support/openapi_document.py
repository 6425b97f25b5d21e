"""The served OpenAPI document, and the check of an answer against it."""

from __future__ import annotations

from functools import cache
from typing import Any

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


def problem(schema: Json, value: Any) -> str | None:
    """What the served schema says against a value."""
    error = next(validator(schema["$ref"].rpartition("/")[2]).iter_errors(value), None)
    return None if error is None else f"{error.json_path}: {error.message[:300]}"


def operations() -> dict[tuple[str, str], Json]:
    return {
        (method.upper(), path): told
        for path, methods in document()["paths"].items()
        for method, told in methods.items()
        if method in METHODS or method == "head"
    }
