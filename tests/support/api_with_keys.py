"""An API whose callers have keys, beside the suite's open one: same Temporal, same Redis, same workers."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from open_responses.config import ApiKeyConfig
from tests.support.stack import Stack, another_api


def key_block(tenant: str, key: str, *settings: str) -> str:
    """`[[api_keys]]` for a key that the test knows."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return "\n".join(["[[api_keys]]", f'tenant = "{tenant}"', f'sha256 = "{digest}"', *settings])


def fresh_key(**limits: Any) -> ApiKeyConfig:
    """A key with these limits, as the configuration has it, of which nothing is counted yet."""
    return ApiKeyConfig(tenant="t", sha256=secrets.token_hex(32), **limits)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@asynccontextmanager
async def keyed_api(stack: Stack, *blocks: str, **env: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key of an API with these, and with more in its environment (`OPEN_RESPONSES_…`)."""
    added = {f"OPEN_RESPONSES_{name}": value for name, value in env.items()}
    async with another_api(stack, tail="\n".join(blocks), env=added) as client:
        yield client
