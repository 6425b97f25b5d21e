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
from open_responses.ids import new_id
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse


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
    start = StartResponse(
        response_id=new_id("resp_"),
        tenant="acme",
        created_at=1,
        request=CreateResponse(model="m", input="hello"),
        provider="p",
        upstream_model="m",
        retry_window=60,
    )
    async with asyncio.timeout(10):
        await start_response(cast(AppState, state), Prepared(start, ()))
    assert sent == ["stored", "started"]
