"""Maps a provider's failures to our error tree, which decides whether a retry can help, and what message the client
gets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from activities.providers.shared.http import EncodedAnswer
from activities.providers.shared.keys import Key
from activities.providers.shared.retry_after import wait_of
from open_responses.config import ProviderConfig
from open_responses.errors import (
    ContextLengthExceeded,
    OpenResponsesError,
    ProviderAnswerRefused,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)

_MESSAGE_LIMIT = 500
# Phrases in vendors' messages about a context that is too long. OpenAI has a code for it as well.
_TOO_LONG = re.compile(
    r"context (length|size|window)|(prompt|input) is too long|input token count.*exceeds|too many (input )?tokens"
    r"|exceeds? the (available|maximum) (context|number of tokens)|exceed context limit",
    re.IGNORECASE,
)
# llama.cpp says this with a 500.
_CANNOT = re.compile(r"(image|audio|video|file) input is not supported", re.IGNORECASE)
# How the vendors say that an account has no credit, where the status is another than 402 (Moonshot, z.ai) or there is
# none, as in the middle of a stream (DeepSeek's code is `invalid_request_error` there).
_SPENT = re.compile(
    r"insufficient[_ ](quota|balance|credits?|funds)|billing_error|payment[_ ]required|exceeded_current_quota"
    r"|credit balance is too low",
    re.IGNORECASE,
)

ReadError: TypeAlias = Callable[[int, bytes, Mapping[str, str]], OpenResponsesError]
"""(status, body, headers in small letters) -> the error."""


@dataclass(frozen=True, slots=True)
class Failures:
    """The failures of one call. Their messages are the vendor's, without the key."""

    config: ProviderConfig
    key: Key

    def of(self, status: int, message: str, *, code: str = "", retry_after: float | None = None) -> OpenResponsesError:
        """Return the error for a status, with the vendor's message and code.

        Statuses in the middle of a stream are those that the vendor would have answered with.
        """
        text = self.key.hidden_in(" ".join(message.split()))[:_MESSAGE_LIMIT]
        said = f"{self.config.name} answered {status}: {text}"
        if status == 402 or _SPENT.search(code) or _SPENT.search(text):
            return ProviderRejected(said, code="insufficient_quota")
        if status in (401, 403):
            hint = _key_hint(self.config, self.key.is_own)
            return ProviderAuthentication(f"{self.config.name} refused the credentials ({status}). {hint}")
        if status == 429:
            return ProviderRateLimited(said, retry_after=retry_after)
        if code == "context_length_exceeded" or (status in (400, 413, 422, 500) and _TOO_LONG.search(text)):
            return ContextLengthExceeded(said)
        if status == 404:
            return ProviderRejected(said, code="model_not_found")
        if status >= 500 and _CANNOT.search(text):
            return ProviderRejected(said)
        if status in (408, 409, 425) or status >= 500:
            return ProviderUnavailable(said, retry_after=retry_after)
        return ProviderRejected(said)

    def broken_off(self) -> ProviderStreamBroken:
        """Return the error for a stream that ended without the vendor's terminal event."""
        return ProviderStreamBroken(f"{self.config.name}'s stream ended in the middle of the answer")

    def read_by(self, error_of: ErrorOf) -> ReadError:
        """Return a function for `open_stream` that reads an answer's status, body and headers with the vendor's
        `error_of`."""

        def read(status: int, body: bytes, headers: Mapping[str, str]) -> OpenResponsesError:
            return error_of(self, status, details_in(decoded(body)), wait_of(headers))

        return read


ErrorOf: TypeAlias = Callable[[Failures, int, Any, float | None], OpenResponsesError]
"""(failures, status, the body's `error` member, seconds to wait) -> the error: what an adapter knows of its vendor."""


@contextmanager
def transport_errors(config: ProviderConfig) -> Iterator[None]:
    """Map the exceptions of httpx, and answers that are not JSON."""
    try:
        yield
    except httpx.ConnectTimeout as error:
        raise ProviderUnavailable(f"{config.name} does not accept connections") from error
    except httpx.TimeoutException as error:
        raise ProviderTimeout(f"{config.name} was silent for {config.timeout_seconds:g} seconds") from error
    except httpx.ConnectError as error:
        raise ProviderUnavailable(f"{config.name} cannot be reached") from error
    except EncodedAnswer as error:
        raise ProviderAnswerRefused(f"{config.name} sent a compressed answer, which was not asked for") from error
    except httpx.TransportError as error:
        raise ProviderStreamBroken(f"the connection to {config.name} broke") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProviderStreamBroken(f"{config.name} sent what is not JSON") from error


def decoded(body: bytes) -> Any:
    """The body's JSON, or its text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode(errors="replace")


def _key_hint(config: ProviderConfig, own_key: bool) -> str:
    if own_key:
        return "Check the provider key that you sent."
    return (
        f"Check the key in {config.api_key_env}."
        if config.api_key_env
        else "Send your own as 'api_key', or set api_key_env in its configuration."
    )


def message_of(details: Any) -> str:
    """Return the text of an `error` member: an object with a message, a string, or any other value."""
    if isinstance(details, dict):
        inner = details.get("message") or details.get("error") or details.get("detail") or details
        return inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
    return str(details)


def code_of(details: Any) -> str:
    """The vendor's code as text, of an `error` member."""
    if not isinstance(details, dict):
        return ""
    return str(details.get("code") or details.get("type") or "")


def details_in(body: Any) -> Any:
    """Return the `error` member of a body, if there is one."""
    if isinstance(body, list) and body:
        body = body[0]
    return body.get("error", body) if isinstance(body, dict) else body
