"""Fixtures of the API's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.support.stack import Stack
from tests.support.websocket_client import Client, connected


@pytest_asyncio.fixture
async def ws(stack: Stack) -> AsyncIterator[Client]:
    async with connected(stack.api_url) as client:
        yield client
