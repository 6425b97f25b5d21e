"""Anthropic's errors: `{"type": "error", "error": {"type", "message"}}`, with a status or in the middle of a stream.

Source: platform.claude.com/docs, errors (the types and their statuses).
"""

from __future__ import annotations

import re
from typing import Any

from activities.providers.shared.error_mapping import Failures, code_of, message_of
from open_responses.errors import OpenResponsesError

_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


def error_of(failures: Failures, status: int, details: Any, retry_after: float | None) -> OpenResponsesError:
    return failures.of(status, message_of(details), code=code_of(details), retry_after=retry_after)


def error_in_stream(failures: Failures, details: Any) -> OpenResponsesError:
    """Map an error in a stream. Its type replaces the HTTP status; a gateway may send the status itself."""
    code = code_of(details)
    status = int(code) if re.fullmatch("[45][0-9][0-9]", code) else _STATUS.get(code, 500)
    return error_of(failures, status, details, None)
