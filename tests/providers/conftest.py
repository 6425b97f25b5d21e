"""The fixture of the adapters' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from activities.providers.shared.http import open_http_client


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """The client of a worker, made anew for each test."""
    async with open_http_client() as client:
        yield client
