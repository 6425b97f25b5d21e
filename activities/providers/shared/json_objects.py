"""JSON from the outside as objects: a server's, a client's, a model's."""

from __future__ import annotations

import json
from typing import Any

from open_responses.json_types import JsonObject


def as_object(value: Any) -> JsonObject:
    """An object, or an empty one for null and what a broken server sends in its place."""
    return value if isinstance(value, dict) else {}


def object_in(text: str | None) -> JsonObject | None:
    """The object that a text holds; None for what is none. `encrypted_content` passes through the client's hands."""
    try:
        read = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def arguments_object(written: str) -> JsonObject:
    """A call's arguments for APIs that want an object: what is none is shown to the model as it wrote it."""
    read = object_in(written)
    if read is not None:
        return read
    return {"invalid_json": written} if written.strip() else {}
