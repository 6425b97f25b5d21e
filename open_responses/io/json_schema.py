"""JSON Schema: whether a schema is one, and whether a text is valid against it (REQ-11).

A schema comes from a request: nothing is fetched for it, and no pattern in it can keep a worker busy.
"""

from __future__ import annotations

import json

import jsonschema_rs

from open_responses.json_types import JsonObject
from open_responses.requests import CreateResponse, JsonObjectFormat, JsonSchemaFormat

_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=1_000_000, dfa_size_limit=1_000_000)
_SHOWN = 300


def schema_problem(schema: JsonObject) -> str | None:
    """Why a schema cannot be used; None if it can."""
    try:
        _validator(schema)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return str(error).splitlines()[0][:_SHOWN]
    return None


def has_form(request: CreateResponse) -> bool:
    """Whether the answer may not be any text."""
    return _form(request) is not None


def _form(request: CreateResponse) -> JsonObjectFormat | JsonSchemaFormat | None:
    wanted = request.text.format if request.text is not None else None
    return wanted if isinstance(wanted, JsonObjectFormat | JsonSchemaFormat) else None


def format_problem(request: CreateResponse, text: str) -> str | None:
    """Why a text does not fit the request's `text.format`; None if it does, or may be any text."""
    wanted = _form(request)
    if wanted is None:
        return None
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON ({error})"
    if isinstance(wanted, JsonObjectFormat):
        return None if isinstance(value, dict) else "it is not a JSON object"
    try:
        misfit = next(iter(_validator(wanted.schema_).iter_errors(value)), None)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as broken:
        return f"the schema cannot be used: {str(broken)[:_SHOWN]}"
    if misfit is None:
        return None
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in misfit.instance_path)
    return f"at ${at}: {misfit.message[:_SHOWN]}"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a value of JSON")


def _validator(schema: JsonObject) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(schema, pattern_options=_PATTERNS, offline=True)
