"""Fixtures for a test file with servers of its own. It defines `own_stack`, and imports `stack` and `client`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from tests.support.small_stack import client_of
from tests.support.stack import Stack


@pytest_asyncio.fixture
async def stack(own_stack: Stack) -> Stack:
    await own_stack.heal()
    return own_stack


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(stack) as client:
        yield client
