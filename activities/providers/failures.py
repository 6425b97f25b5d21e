"""A provider's failures, mapped once to our error tree: whether another try can help, and what the client is told."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
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
from open_responses.json_types import JsonObject

_MESSAGE_LIMIT = 500
# How the vendors say that a context is too long, beside OpenAI's code for it.
_TOO_LONG = re.compile(
    r"context (length|size|window)|(prompt|input) is too long|input token count.*exceeds|too many (input )?tokens"
    r"|exceeds? the (available|maximum) (context|number of tokens)|exceed context limit",
    re.IGNORECASE,
)
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")
_SPENT = ("insufficient_quota", "billing_error", "credit balance is too low")


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


def decoded(body: bytes) -> Any:
    """The body's JSON, or its text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def failure(
    config: ProviderConfig,
    status: int,
    message: str,
    *,
    code: str = "",
    retry_after: float | None = None,
    own_key: bool = False,
) -> OpenResponsesError:
    """The error that a status stands for, with the vendor's own message and code. `own_key`: the request brought it.

    Statuses in the middle of a stream are those that the vendor would have answered with.
    """
    text = " ".join(message.split())[:_MESSAGE_LIMIT]
    said = f"{config.name} answered {status}: {text}"
    if any(word in (code, text) or word in text for word in _SPENT):
        return ProviderRejected(said, code="insufficient_quota")
    if status in (401, 403):
        return ProviderAuthentication(f"{config.name} refused the credentials ({status}). {_key_hint(config, own_key)}")
    if status == 429:
        return ProviderRateLimited(said, retry_after=retry_after)
    if code == "context_length_exceeded" or (status in (400, 413, 422, 500) and _TOO_LONG.search(text)):
        return ContextLengthExceeded(said)
    if status == 404:
        return ProviderRejected(said, code="model_not_found")
    if status in (408, 409, 425) or status >= 500:
        return ProviderUnavailable(said, retry_after=retry_after)
    return ProviderRejected(said)


def _key_hint(config: ProviderConfig, own_key: bool) -> str:
    if own_key:
        return "Check the key that the request brought."
    return f"Check the key in {config.api_key_env}." if config.api_key_env else "No api_key_env is configured."


def message_of(details: Any) -> str:
    """The text of an `error` member: an object with a message, a string, or whatever it is."""
    if isinstance(details, dict):
        inner = details.get("message") or details.get("error") or details.get("detail") or details
        return inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
    return str(details)


def code_of(details: Any) -> str:
    """The vendor's code as text, of an `error` member."""
    if not isinstance(details, dict):
        return ""
    return str(details.get("code") or details.get("type") or "")


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: `retry-after-ms`, `Retry-After` (seconds or a date), or until the exhausted limit is reset."""
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        given = headers.get("retry-after")
        if given is not None:
            return float(given) if _is_number(given) else _until(parsedate_to_datetime(given))
        return _reset(headers)
    except (ValueError, TypeError):
        return None


def _reset(headers: Mapping[str, str]) -> float | None:
    """The reset of those limits that have nothing left: OpenAI's `x-ratelimit-reset-tokens: 6m0s` and its like."""
    waits = []
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        for remaining, reset in (
            (f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}"),
            (f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset"),
        ):
            if headers.get(remaining, "").strip() == "0" and (given := headers.get(reset)):
                waits.append(seconds_of(given))
    return max((wait for wait in waits if wait is not None), default=None)


def seconds_of(given: str) -> float | None:
    """`34s`, `6m0s`, `120ms`, plain seconds, or a moment in RFC 3339."""
    if _is_number(given):
        return float(given)
    if "T" in given:
        return _until(datetime.fromisoformat(given.replace("Z", "+00:00")))
    found = _DURATION.fullmatch(given.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _until(moment: datetime) -> float:
    return max(0.0, moment.timestamp() - time.time())


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()


def details_in(body: Any) -> Any:
    """The `error` member of a body, where there is one."""
    if isinstance(body, list) and body:
        body = body[0]
    return body.get("error", body) if isinstance(body, dict) else body


def as_object(value: Any) -> JsonObject:
    """An object, or an empty one for null and what a broken server sends in its place."""
    return value if isinstance(value, dict) else {}
