"""Gemini's errors: a google.rpc.Status, as a body or in the middle of the stream.

Sources: ai.google.dev/gemini-api/docs/troubleshooting; recorded errors of vercel/ai
(`packages/google/src/__fixtures__`) and pydantic-ai (`tests/models/cassettes/test_google`).
"""

from __future__ import annotations

from typing import Any

from activities.providers.shared.error_mapping import Failures, message_of
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.retry_after import seconds_of
from open_responses.errors import OpenResponsesError

_CANCELLED = 499


def error_of(failures: Failures, status: int, details: Any, retry_after: float | None) -> OpenResponsesError:
    """Map a google.rpc.Status. A wrong key has the status 400, and `details` has the time to wait."""
    told = as_object(details)
    message = message_of(details)
    code = str(told.get("status") or "")
    about = told.get("details")
    for detail in map(as_object, about if isinstance(about, list) else []):
        if detail.get("reason") == "API_KEY_INVALID":
            status = 401
        if isinstance(detail.get("retryDelay"), str):
            retry_after = seconds_of(detail["retryDelay"])
    if status == _CANCELLED:
        # Google's status for a request that its side cancelled.
        status = 503
    if status == 429 and "credits are depleted" in message:
        code = "insufficient_quota"
    return failures.of(status, message, code=code, retry_after=retry_after)


def error_in_stream(failures: Failures, details: Any) -> OpenResponsesError:
    """Map an error in a stream. Its code is the status of the same error as a response."""
    code = as_object(details).get("code")
    return error_of(failures, code if isinstance(code, int) else 500, details, None)
