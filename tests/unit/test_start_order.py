"""The command that stores a request leaves the API before the start of its workflow."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from api.app_state import AppState
from api.responses.prepare import Prepared
from api.responses.start import start_response
from open_responses.config import Config
from open_responses.io.temporal.erasure_marks import ErasureMarks
from tests.support.operator import a_start


async def test_a_request_is_sent_to_the_store_before_its_workflow_starts(tmp_path: Path) -> None:
    """A worker that is faster than the store would have to ask Temporal for the request."""
    sent, replied = list[str](), asyncio.Event()

    async def send() -> None:
        sent.append("stored")

    class Store:
        async def begin(self, *_: object) -> bool:
            # As the client for Redis: another task sends the command, and the reply comes later.
            sending = asyncio.create_task(send())
            await replied.wait()
            await sending
            return True

    class Temporal:
        async def start_workflow(self, *_: object, **__: object) -> None:
            sent.append("started")
            replied.set()

    async def nothing(*_: object) -> Any:
        return None

    state = SimpleNamespace(
        store=Store(),
        eraser=SimpleNamespace(prepare=nothing, marks=ErasureMarks(tmp_path)),
        temporal=Temporal(),
        admission=SimpleNamespace(withdraw=nothing, doubt=nothing),
        settings=SimpleNamespace(start_patience_seconds=1, config=Config()),
        search_attributes=SimpleNamespace(are_known=nothing),
    )
    async with asyncio.timeout(10):
        await start_response(cast(AppState, state), Prepared(a_start(), ()))
    assert sent == ["stored", "started"]
