"""The body and the signature of a webhook, as the Standard Webhooks specification and OpenAI's SDKs read them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets as random_source
from collections.abc import Sequence

from open_responses.json_types import JsonObject
from open_responses.schema.webhooks import SECRET_PREFIX

_SECRET_BYTES = 32
_HINT_CHARACTERS = 4


def new_webhook_secret() -> str:
    """Return a secret of 256 random bits. Do not use it in workflow code."""
    return SECRET_PREFIX + base64.b64encode(random_source.token_bytes(_SECRET_BYTES)).decode()


def hint_of(secret: str) -> str:
    """Return the masked secret that its owner may recognise."""
    return f"{SECRET_PREFIX}…{secret[-_HINT_CHARACTERS:]}"


def body_of(event_id: str, kind: str, created_at: int, data: JsonObject) -> bytes:
    """Return the body of an event. Each attempt sends the same bytes."""
    event = {"id": event_id, "object": "event", "type": kind, "created_at": created_at, "data": data}
    return json.dumps(event, separators=(",", ":")).encode()


def headers_of(event_id: str, body: bytes, secrets: Sequence[str], *, now: int) -> dict[str, str]:
    """Return the headers of one attempt.

    Args:
        event_id: The same in each attempt, so that a receiver can drop repeats.
        body: The body as it is sent.
        secrets: Each makes a signature. A receiver accepts the event if it knows one of them.
        now: Unix seconds. Receivers reject what is older than minutes, so each attempt has its own.
    """
    signed = f"{event_id}.{now}.".encode() + body
    return {
        "content-type": "application/json",
        "user-agent": "open-responses-webhooks/1",
        "webhook-id": event_id,
        "webhook-timestamp": str(now),
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
