"""Reads JSON objects that a server, a client or a model wrote, and that may be broken."""

from __future__ import annotations

import json
import re
from typing import Any

from open_responses.json_types import JsonObject
from open_responses.tool_use.json_safety import whole_characters

# An escape of a half; of a whole pair as well, which is written out then.
_HALF = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


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


def object_text(value: Any) -> str:
    """Return arguments that come as an object, or as its JSON already, as text; `{}` for none."""
    return value if isinstance(value, str) and value else json.dumps(value or {}, ensure_ascii=False)


def arguments_object(written: str) -> JsonObject:
    """Return a call's arguments for APIs that require an object. Arguments that are no object are wrapped as the model
    wrote them."""
    read = object_in(whole_arguments(written))
    if read is not None:
        return read
    return {"invalid_json": written} if written.strip() else {}


def arguments_text(written: str) -> str:
    """Return a call's arguments for APIs that require text: as written, if they are a JSON object, since some servers
    parse them."""
    whole = whole_arguments(written)
    return whole if object_in(whole) is not None else json.dumps(arguments_object(whole), ensure_ascii=False)


def whole_arguments(written: str) -> str:
    """Return a call's arguments without the halves of surrogate pairs that the model escaped (`"\\ud83d"`). They become
    U+FFFD, since no request can carry what they stand for."""
    if _HALF.search(written) is None:
        return written
    read = object_in(written)
    return written if read is None else whole_characters(json.dumps(read, ensure_ascii=False))
