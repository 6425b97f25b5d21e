"""An API whose callers have keys, beside the suite's open one: same Temporal, same Redis, same workers."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest_asyncio

from open_responses.config_tables.api_keys import ApiKeyConfig
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


def blocks_of(prefix: str, settings: Mapping[str, str]) -> list[str]:
    """A tenant of its own, `{prefix}-{key}`, for each of these keys, with the settings of the key."""
    return [key_block(f"{prefix}-{key}", key, lines) for key, lines in settings.items()]


def api_of_the_module(*blocks: str, **env: str) -> Any:
    """A fixture: one such API for all tests of a file."""

    @pytest_asyncio.fixture(scope="module")
    async def api(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
        await session_stack.heal()
        async with keyed_api(session_stack, *blocks, **env) as client:
            yield client

    return api
