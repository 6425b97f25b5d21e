"""Reads JSON objects that a server, a client or a model wrote, and that may be broken."""

from __future__ import annotations

import json
from typing import Any

from open_responses.json_types import JsonObject


def as_object(value: Any) -> JsonObject:
    """Return the object, or an empty one for null and for any other value that a broken server sends."""
    return value if isinstance(value, dict) else {}


def object_in(text: str | None) -> JsonObject | None:
    """Return the object in a text; None if the text is no object. A client may have changed `encrypted_content`."""
    try:
        read = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def arguments_object(written: str) -> JsonObject:
    """Return a call's arguments for APIs that require an object. Arguments that are no object are wrapped as the model
    wrote them."""
    read = object_in(written)
    if read is not None:
        return read
    return {"invalid_json": written} if written.strip() else {}
