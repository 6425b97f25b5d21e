"""The errors of chat servers: as a body, and in the middle of the stream.

Sources: openrouter.ai/docs (errors in the stream, `metadata`, moderation); groq's SDK 1.7 (`x_groq`);
api-docs.deepseek.com (`insufficient_system_resource`).
"""

from __future__ import annotations

import re
from typing import Any

from activities.providers.shared.error_mapping import Failures, code_of, message_of
from activities.providers.shared.json_objects import as_object
from open_responses.errors import OpenResponsesError
from open_responses.json_types import JsonObject

# Finish reasons for an answer that the server cancelled: of DeepSeek, of OpenRouter and Mistral, of z.ai, of SGLang.
GAVE_UP = ("insufficient_system_resource", "error", "network_error", "abort")
# Statuses for the codes and types of errors in a stream, which have none. The first text that a code contains decides.
_STATUS = (
    ("rate_limit", 429),
    ("quota", 429),
    ("auth", 401),
    ("invalid_request", 400),
    ("badrequest", 400),
    ("context", 400),
    ("overloaded", 503),
)
# xAI answers 400 to a key that it does not know.
_WRONG_KEY = re.compile(r"(incorrect|invalid) api key|api key not valid", re.IGNORECASE)


def error_of(failures: Failures, status: int, details: Any, retry_after: float | None) -> OpenResponsesError:
    metadata = as_object(as_object(details).get("metadata"))
    message = message_of(details)
    if isinstance(metadata.get("raw"), str):
        # OpenRouter's own message is "Provider returned error".
        message += f": {metadata['raw']}"
    if status == 400 and _WRONG_KEY.search(message):
        status = 401
    if status == 403 and "reasons" in metadata:
        # OpenRouter's moderation sends this status, which does not concern the key.
        status = 400
    return failures.of(status, message, code=code_of(details), retry_after=retry_after)


def error_of_chunk(failures: Failures, details: Any) -> OpenResponsesError:
    """Map an error chunk. It has no status; its code may be one, or identify one."""
    code = code_of(details)
    kinds = f"{code} {as_object(details).get('type') or ''}".lower().replace("_error", "")
    named = (status for word, status in _STATUS if word in kinds)
    status = int(code) if re.fullmatch("[45][0-9][0-9]", code) else next(named, 500)
    return error_of(failures, status, details, None)


def error_in(chunk: JsonObject, event: str) -> Any:
    """Return the error in a chunk, in the form of each server; None for an ordinary chunk."""
    if chunk.get("error"):
        return chunk["error"]
    if event == "error" or chunk.get("object") == "error":
        return chunk
    return as_object(chunk.get("x_groq")).get("error") if "x_groq" in chunk else None
