"""A chat server's failures, mapped once to our error tree."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from open_responses.config import ProviderConfig
from open_responses.errors import (
    ContextLengthExceeded,
    OpenResponsesError,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)

_MESSAGE_LIMIT = 500


@contextmanager
def transport_errors(config: ProviderConfig) -> Iterator[None]:
    """Maps httpx's exceptions, and what is not JSON."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ProviderUnavailable(f"{config.name} does not accept connections") from error
    except httpx.TimeoutException as error:
        raise ProviderTimeout(f"{config.name} was silent for {config.timeout_seconds:g} seconds") from error
    except httpx.ConnectError as error:
        raise ProviderUnavailable(f"{config.name} cannot be reached") from error
    except httpx.TransportError as error:
        raise ProviderStreamBroken(f"the connection to {config.name} broke") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ProviderStreamBroken(f"{config.name} sent what is not JSON") from error


def error_from_response(response: httpx.Response, body: bytes, config: ProviderConfig) -> OpenResponsesError:
    """The error that an HTTP status other than 200 stands for."""
    try:
        decoded = json.loads(body)
    except ValueError:
        decoded = body.decode(errors="replace")
    details = decoded.get("error", decoded) if isinstance(decoded, dict) else decoded
    return _error(response.status_code, details, _retry_after(response.headers), config)


def error_from_body(details: Any, config: ProviderConfig) -> OpenResponsesError:
    """The error that an `error` object in the middle of a stream stands for."""
    code = details.get("code") if isinstance(details, dict) else None
    status = code if isinstance(code, int) else 500
    return _error(status, details, None, config)


def _error(status: int, details: Any, retry_after: float | None, config: ProviderConfig) -> OpenResponsesError:
    message, code = _message(details), str(details.get("code") or "") if isinstance(details, dict) else ""
    said = f"{config.name} answered {status}: {message}"
    if status in (401, 403):
        hint = f" Check the key in {config.api_key_env}." if config.api_key_env else " No api_key_env is configured."
        return ProviderAuthentication(f"{config.name} refused the credentials ({status}).{hint}")
    if code == "insufficient_quota":
        return ProviderRejected(said, code="insufficient_quota")
    if status == 429:
        return ProviderRateLimited(said, retry_after=retry_after)
    if status == 404:
        return ProviderRejected(said, code="model_not_found")
    if code == "context_length_exceeded" or "context length" in message.lower() or "context size" in message.lower():
        return ContextLengthExceeded(said)
    if status in (408, 409, 425) or status >= 500:
        return ProviderUnavailable(said, retry_after=retry_after)
    return ProviderRejected(said)


def _message(details: Any) -> str:
    text = details.get("message", details) if isinstance(details, dict) else details
    return " ".join(str(text).split())[:_MESSAGE_LIMIT]


def _retry_after(headers: httpx.Headers) -> float | None:
    """`retry-after-ms`, or `Retry-After` as seconds or as a date."""
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        given = headers.get("retry-after")
        if given is None:
            return None
        if given.replace(".", "", 1).isdigit():
            return float(given)
        return max(0.0, parsedate_to_datetime(given).timestamp() - time.time())
    except ValueError:
        return None
