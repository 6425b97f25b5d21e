"""OpenAI's errors, as a body or in the middle of the stream.

Sources: OpenAI's HTTP errors; `ResponseError` of its Python SDK (openai 3.54); recorded errors of
vercel/ai, `packages/openai/src/responses/__fixtures__`.
"""

from __future__ import annotations

import re
from typing import Any

from activities.providers.shared.error_mapping import Failures, code_of, message_of
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.retry_after import seconds_of
from open_responses.errors import OpenResponsesError, ProviderStreamBroken
from open_responses.json_types import JsonObject

# The status of each error code in a stream: the status of the same error as a response.
_STATUS = {
    "context_length_exceeded": 400,
    "data_residency_mismatch": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "insufficient_quota": 429,
    "invalid_api_key": 401,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "server_is_overloaded": 503,
    "slow_down": 503,
}
_REFUSED = re.compile(r"^(invalid|image|unsupported)_|_policy(_violation)?$")
_TRY_AGAIN_IN = re.compile(r"try again in ([\d.]+ ?[hms]*[\dhms.]*)", re.IGNORECASE)
# The request is larger than the organization's tokens per minute, so no retry would succeed.
_NEVER_FITS = "Request too large"


def error_of(failures: Failures, status: int, details: Any, retry_after: float | None) -> OpenResponsesError:
    code, message = code_of(details), message_of(details)
    if code == "model_not_found":
        status = 404
    elif status == 429 and message.startswith(_NEVER_FITS):
        status = 413
    wait = _wait_in(message) if status == 429 and retry_after is None else retry_after
    return failures.of(status, message, code=code, retry_after=wait)


def error_of_resumed(failures: Failures, status: int, details: Any, retry_after: float | None) -> OpenResponsesError:
    """Map an error of reading an answer again. The request itself was valid, so a 4xx concerns the stored answer."""
    if 400 <= status < 500 and status not in (401, 403, 429):
        return ProviderStreamBroken(f"{failures.config.name} no longer has the answer that broke off")
    return error_of(failures, status, details, retry_after)


def error_in_stream(failures: Failures, said: JsonObject) -> OpenResponsesError:
    """Map `{"error": {"code", "message", "type"}}`, or an event that has these members itself, as in the
    documentation."""
    error = said.get("error")
    details = {"message": error} if isinstance(error, str) else as_object(error)
    if not details:
        details = {"code": said.get("code"), "message": said.get("message") or "the response failed"}
    return error_of(failures, _status_of(details), details, None)


def _wait_in(message: str) -> float | None:
    """A stream's errors have no headers: "Please try again in 11.054s."""
    found = _TRY_AGAIN_IN.search(message)
    try:
        return seconds_of(found[1].replace(" ", "").rstrip(".")) if found else None
    except ValueError:
        return None


def _status_of(details: JsonObject) -> int:
    """Return the status of an error code. An unknown code counts as temporary, so that the request is retried."""
    code = str(details.get("code") or "")
    if code in _STATUS:
        return _STATUS[code]
    if re.fullmatch("[45][0-9][0-9]", code):
        # Gateways send the status in place of a code.
        return int(code)
    refused = _REFUSED.search(code) or details.get("type") == "invalid_request_error"
    return 400 if refused else 500
