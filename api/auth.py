"""Who asks? A bearer token against the configured hashes; with no keys configured there is one tenant."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from api.app_state import state_of
from open_responses.config import ApiKeyConfig
from open_responses.errors import Unauthorized

OPEN_TENANT = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """The tenant, and the key that it came with; None where the server is open."""

    tenant: str
    key: ApiKeyConfig | None = None


def caller_of(connection: HTTPConnection) -> Caller:
    """Who a request's, or a socket's, key belongs to. Raises Unauthorized."""
    keys = state_of(connection).settings.config.api_keys
    if not keys:
        return Caller(OPEN_TENANT)
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    digest = hashlib.sha256(token.strip().encode()).hexdigest()
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            found = key
    if scheme.lower() != "bearer" or found is None:
        raise Unauthorized("No valid API key. Send `Authorization: Bearer <key>`.")
    return Caller(found.tenant, found)


def tenant_of(connection: HTTPConnection) -> str:
    """The caller's tenant. Raises Unauthorized."""
    return caller_of(connection).tenant
