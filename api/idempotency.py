"""`Idempotency-Key`: the same key and body give the same response, however often and wherever they are sent.

The response's id follows from tenant and key, and an id begins one workflow at the most; so two requests that race meet
in the same response, and nothing has to be locked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from api.app_state import AppState
from open_responses.errors import Conflict, InvalidRequest
from open_responses.ids import RANDOM_BYTES
from open_responses.io.store.records import Record
from open_responses.io.store.repository import NotInTemporal
from open_responses.json_types import JsonObject

HEADER = "idempotency-key"
_LONGEST = 255


class AlreadyBegun(Exception):
    """Another request with this key came first."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The response that a key stands for, and the digest of the body that it came with."""

    response_id: str
    body_digest: str


def idempotency_key(tenant: str, headers: Mapping[str, str], body: JsonObject) -> IdempotencyKey | None:
    """The request's key; None if it has none. Raises InvalidRequest. `body` is as sent, without the provider's key."""
    given = headers.get(HEADER)
    if given is None:
        return None
    if not given.strip() or len(given) > _LONGEST or not given.isprintable():
        raise InvalidRequest(
            f"Your Idempotency-Key header must have 1 to {_LONGEST} printable characters.",
            code="invalid_idempotency_key",
        )
    digest = hashlib.sha256(orjson.dumps([tenant, given.strip()])).hexdigest()
    body_digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return IdempotencyKey("resp_" + digest[: 2 * RANDOM_BYTES], body_digest)


async def earlier(state: AppState, tenant: str, key: IdempotencyKey) -> Record | None:
    """The response that this key began already. Raises Conflict where it cannot be given again."""
    try:
        record = await state.records.load(key.response_id)
    except NotInTemporal as error:
        if error.response_id != key.response_id:
            raise
        # Without Redis, Temporal alone keeps an id from beginning twice.
        return None
    if record is None:
        return None
    if record.start.tenant != tenant or record.start.body_digest != key.body_digest:
        raise Conflict(
            "You sent this Idempotency-Key with another request body. Send a new key with a new request.",
            code="idempotency_key_reused",
        )
    return record


def spent() -> Conflict:
    """Its response has been deleted, or was not to be stored and has ended."""
    return Conflict(
        "You used this Idempotency-Key for a response that is no longer stored. Send a new key.",
        code="idempotency_key_spent",
    )
