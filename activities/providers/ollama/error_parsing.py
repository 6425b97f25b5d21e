"""Ollama's errors, with what the operator can do about them.

Source: docs.ollama.com, api/errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from activities.providers.shared.error_mapping import Failures, message_of
from open_responses.config import ProviderConfig
from open_responses.errors import (
    ContextLengthExceeded,
    OpenResponsesError,
    ProviderRejected,
    ProviderUnavailable,
)
from open_responses.json_types import JsonObject

_NO_MEMORY = re.compile(r"requires more system memory|model is too large", re.IGNORECASE)


def error_for(
    model: str, failures: Failures, status: int, details: Any, retry_after: float | None
) -> OpenResponsesError:
    """Map an error. `model` is the requested model."""
    message = message_of(details)
    error = failures.of(status, message, retry_after=retry_after)
    if status == 404 and "not found" in message:
        return ProviderRejected(f"{error.message}. Pull it first: `ollama pull {model}`.", code="model_not_found")
    if isinstance(error, ContextLengthExceeded):
        return ContextLengthExceeded(f"{error.message}. OLLAMA_CONTEXT_LENGTH of the Ollama server sets the window.")
    if _NO_MEMORY.search(message):
        return ProviderRejected(error.message)
    return error


def error_of_list(failures: Failures, status: int, details: Any, retry_after: float | None) -> OpenResponsesError:
    """Map an error of a request that names no model."""
    return failures.of(status, message_of(details), retry_after=retry_after)


def error_in_stream(model: str, failures: Failures, line: JsonObject) -> OpenResponsesError:
    """Map an error in a stream. Some lines have a status beside the message."""
    given = line.get("status_code") or line.get("status")
    status = given if isinstance(given, int) and given >= 400 else 500
    return error_for(model, failures, status, line["error"], None)


@contextmanager
def hint_to_start(config: ProviderConfig) -> Iterator[None]:
    try:
        yield
    except ProviderUnavailable as error:
        if not isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
            raise
        address = httpx.URL(config.base_url).copy_with(userinfo=b"")
        hint = f"{error.message} at {address}. Is Ollama running? Start it with `ollama serve`."
        raise ProviderUnavailable(hint) from error.__cause__
