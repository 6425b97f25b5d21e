"""A replay of a response whose end Redis has lost before Temporal had it is never the terminal event alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import orjson
import pytest
from fastapi import Request

from api.streaming.reconnect import reconnect
from open_responses.errors import NotFound
from open_responses.events.lifecycle import whole_stream
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.records import Record
from open_responses.io.store.repository import EndUnknown
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.finish import FinishedResponse, final_resource
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import validate_create_response

START = StartResponse(
    response_id="resp_1",
    tenant="default",
    created_at=1,
    request=validate_create_response({"model": "m", "input": "x"}),
    provider="p",
    upstream_model="m",
    retry_window=1.0,
)
RESPONSE = final_resource(START, Ending(status="completed"), [], None, 2)
TRACE: list[list[object]] = [["r", "response.created"], ["r", "response.in_progress"]]


def request_with(outcome: object) -> Request:
    async def lost(_: str) -> None:
        raise RedisDown[0]("away")

    async def decided_outcome(_: str) -> object:
        return outcome

    state = SimpleNamespace(
        store=SimpleNamespace(trace=lost),
        records=SimpleNamespace(decided_outcome=decided_outcome),
    )
    return Request({"type": "http", "app": SimpleNamespace(state=SimpleNamespace(open_responses=state))})


async def replayed(outcome: object) -> list[bytes]:
    record = cast(Record, SimpleNamespace(start=START, response=orjson.dumps(RESPONSE), ancestors=()))
    next_batch, events = await reconnect(request_with(outcome), record, None), list[bytes]()
    while (batch := await next_batch()) is not None:
        events += batch
    return events


async def test_it_has_all_events_once_temporal_has_the_end() -> None:
    events = await replayed(FinishedResponse(response=RESPONSE, trace=TRACE))
    assert len(events) == len(list(whole_stream(START.initial(), RESPONSE, TRACE))) == 3


async def test_it_is_refused_while_no_worker_completes_the_task() -> None:
    with pytest.raises(EndUnknown):
        await replayed("running")


async def test_it_is_a_404_where_the_response_was_deleted_meanwhile() -> None:
    with pytest.raises(NotFound):
        await replayed("gone")
