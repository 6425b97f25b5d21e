"""Who asks? A bearer token against the configured hashes; with no keys configured there is one tenant."""

from __future__ import annotations

import hashlib
import hmac

from fastapi import Request

from api.app_state import state_of
from open_responses.errors import Unauthorized

OPEN_TENANT = "default"


def tenant_of(request: Request) -> str:
    """The tenant of the request's key. Raises Unauthorized."""
    keys = state_of(request).settings.config.api_keys
    if not keys:
        return OPEN_TENANT
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    digest = hashlib.sha256(token.strip().encode()).hexdigest()
    tenant = None
    for key in keys:
        if hmac.compare_digest(key.sha256, digest):
            tenant = key.tenant
    if scheme.lower() != "bearer" or tenant is None:
        raise Unauthorized("No valid API key. Send `Authorization: Bearer <key>`.")
    return tenant
