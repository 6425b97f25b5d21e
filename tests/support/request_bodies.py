"""A request's body, read as the API reads it."""

from __future__ import annotations

from open_responses.schema.requests import CreateResponse, validate_create_response
from open_responses.schema.validation import read_json_object


def parse_create_response(raw: bytes) -> CreateResponse:
    """Raises InvalidRequest."""
    return validate_create_response(read_json_object(raw))
