"""What a webhook is in a request and in the configuration: its events, its address and its secrets.

The names of the events are OpenAI's. The secrets are those of the Standard Webhooks specification: `whsec_` and the
base64 of 24 to 64 bytes.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from open_responses.schema.validation import RequestObject, fault

SECRET_PREFIX = "whsec_"
_SHORTEST_SECRET, _LONGEST_SECRET = 24, 64
_LONGEST_URL = 2048
MOST_SECRETS = 2
"""The most secrets that sign at once: the present one and, while it is replaced, the next or the former one."""

WebhookEvent: TypeAlias = Literal[
    "response.completed",
    "response.failed",
    "response.incomplete",
    "response.cancelled",
    # Ours: OpenAI has no event for a call that waits for a person.
    "response.awaiting_approval",
]
WEBHOOK_EVENTS: tuple[WebhookEvent, ...] = get_args(WebhookEvent)
AWAITING_APPROVAL_EVENT: WebhookEvent = "response.awaiting_approval"


def secret_problem(secret: str) -> str | None:
    """Return what is wrong with a secret, without a part of it; None if nothing is."""
    if not secret.startswith(SECRET_PREFIX):
        return f"must begin with {SECRET_PREFIX!r}"
    try:
        size = len(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        return f"must be {SECRET_PREFIX!r} and base64"
    if not _SHORTEST_SECRET <= size <= _LONGEST_SECRET:
        return f"must have {_SHORTEST_SECRET} to {_LONGEST_SECRET} bytes in base64, but has {size}"
    return None


def url_problem(url: str) -> str | None:
    """Return what is wrong with an address, whether or not it can be reached; None if nothing is."""
    complaint = (
        "must be an http or https URL with a host, and without a user, a fragment, a space or a control character"
    )
    if len(url) > _LONGEST_URL:
        return f"must have at most {_LONGEST_URL} characters"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return complaint
    is_plain = url.isascii() and url.isprintable() and not set(url) & set(' \\"<>`{}|^')
    is_sound = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and not parts.fragment
    return None if is_plain and is_sound and "#" not in url else complaint


def _sound_secret(secret: str) -> str:
    problem = secret_problem(secret)
    if problem is not None:
        raise fault("invalid_value", problem)
    return secret


def _sound_url(url: str) -> str:
    problem = url_problem(url)
    if problem is not None:
        raise fault("invalid_value", problem)
    return url


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


WebhookUrl: TypeAlias = Annotated[str, AfterValidator(_sound_url)]
WebhookSecret: TypeAlias = Annotated[str, Field(max_length=200), AfterValidator(_sound_secret)]
WebhookEvents: TypeAlias = Annotated[list[WebhookEvent], Field(min_length=1, max_length=len(WEBHOOK_EVENTS))]


class WebhookParam(RequestObject):
    """The webhook of one request (an extension): where the events of its response are sent.

    `secret` signs them. Two secrets sign at once, so that a receiver can replace one. Without `events`, all are sent.
    """

    url: WebhookUrl
    secret: Annotated[list[WebhookSecret], Field(min_length=1, max_length=MOST_SECRETS), BeforeValidator(_as_list)]
    events: WebhookEvents | None = None
