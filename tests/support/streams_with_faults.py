"""A stream during which a test does something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from tests.support.scripts import HOSTED
from tests.support.stack import Event, events_of

Act = Callable[[], Awaitable[None]]


async def stream_and(
    client: httpx.AsyncClient, prompt: str, act: Act, *, once: Callable[[Event], bool], **settings: Any
) -> list[Event]:
    """Stream a loop, and do something at the first event of that kind."""
    events: list[Event] = []
    acted = False
    async for event in events_of(client, {"model": "fake", "input": prompt, "tools": HOSTED, **settings}):
        events.append(event)
        if not acted and once(event):
            acted = True
            await act()
    assert acted
    return events
