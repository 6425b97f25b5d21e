"""A chain that Redis or Temporal does not have all of: the model is sent the whole of it, or nothing (REQ-1)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError

from api.app_state import AppState
from api.idempotency import IdempotencyKey, earlier
from api.lookup import OwnedRecords
from dev import services
from open_responses.context.texts import texts_of
from open_responses.errors import PreviousResponseNotFound
from open_responses.ids import new_id
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, connect
from open_responses.io.store.chains import Chains
from open_responses.io.store.conversation_pieces import ConversationPieces
from open_responses.io.store.records import Record
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import NotInTemporal, Records
from open_responses.io.temporal import client
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from tests.support import temporal_client
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Stack, check_whole, collect

pytestmark = pytest.mark.campaign

_CLOSED = 60.0


@pytest_asyncio.fixture
async def no_redis() -> AsyncIterator[Redis]:
    """At an address where nothing answers."""
    client = connect(f"redis://127.0.0.1:{services.free_port()}/0")
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def client_of_temporal(stack: Stack) -> Client:
    return await temporal_client.client_of_temporal(stack)


@pytest_asyncio.fixture
async def no_temporal(monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{services.free_port()}")
    return await client.connect(None, lazy=True)


def records_of(redis: Redis, client: Client, folder: Path) -> Records:
    return Records(ResponseStore(redis, ttl_seconds=60, log_ttl_seconds=60), client, ConversationPieces(folder))


async def answered(client: httpx.AsyncClient, temporal: Client, prompt: str, previous: str | None = None) -> str:
    """A response whose run has closed: its id."""
    body = {"model": "fake", "input": prompt, "previous_response_id": previous}
    answer = await client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    response_id: str = answer.json()["id"]
    async with asyncio.timeout(_CLOSED):
        await temporal.get_workflow_handle(response_id).result()
    return response_id


def request(previous: str | None) -> StartResponse:
    return StartResponse(
        response_id=new_id("resp_"),
        tenant="default",
        # Younger than what a worker takes for one that never began.
        created_at=int(time.time()),
        request=CreateResponse(model="fake", input="hello", previous_response_id=previous),
        provider="fake",
        upstream_model="fake",
        retry_window=1,
    )


async def kept(store: ResponseStore, previous: str | None, *before: str) -> str:
    """A request that was kept in Redis, and that Temporal does not have."""
    start = request(previous)
    assert await store.begin(start, before)
    return start.response_id


def owned_records(records: Records) -> OwnedRecords:
    state = SimpleNamespace(records=records, settings=SimpleNamespace(max_context_bytes=1_000_000))
    return OwnedRecords(cast(AppState, state), "default")


async def test_a_flush_in_the_middle_of_a_turn_takes_nothing_from_the_turns_behind_it(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, client_of_temporal: Client
) -> None:
    first = await answered(client, client_of_temporal, "flushed: first")
    held = upstream.says("flushed: second", Script(words=4, hold_after=2))
    asking = asyncio.create_task(collect(client, {"input": "flushed: second", "previous_response_id": first}))
    async with asyncio.timeout(_CLOSED):
        await held.held.wait()
    await stack.flush()
    held.released.set()
    second = check_whole(await asking, held.text)["id"]
    previous = second
    for prompt in ("flushed: third", "flushed: fourth"):
        script = upstream.says(prompt, Script(words=1))
        previous = await answered(client, client_of_temporal, prompt, previous)
        asked = [str(message["content"]) for message in script.messages if message["role"] == "user"]
        assert asked[:2] == ["flushed: first", "flushed: second"], f"before {prompt!r}"


async def test_ancestors_that_redis_has_lost_are_put_back(redis: Redis, no_temporal: Client, tmp_path: Path) -> None:
    """Link by link, each from its own record or from Temporal."""
    records = records_of(redis, no_temporal, tmp_path)
    first = await kept(records.store, None)
    second = await kept(records.store, first, first)
    third = await kept(records.store, second, first, second)
    for one in (second, third):
        await redis.hdel(key_names.record(one), "ancestors")
    record = await records.load(third)
    assert record is not None
    assert record.ancestors == (first, second)
    (again,) = await records.store.load([third])
    assert isinstance(again, Record)
    assert again.ancestors == (first, second)


async def test_the_end_of_an_earlier_response_that_redis_never_had_is_read_from_temporal(
    client: httpx.AsyncClient, redis: Redis, upstream: Upstream, client_of_temporal: Client, tmp_path: Path
) -> None:
    """A run that ended while Redis was away leaves a record of its request alone."""
    script = upstream.says("ended without redis", Script(words=3))
    first = await answered(client, client_of_temporal, "ended without redis")
    await redis.hdel(key_names.record(first), "response", "trace")
    records = records_of(redis, client_of_temporal, tmp_path)
    said = [text for item in await Chains(records).items([first]) for text in texts_of(item)]
    assert said == ["ended without redis", script.text]


async def test_an_earlier_response_that_redis_knows_without_its_end_is_not_read_while_temporal_is_away(
    redis: Redis, no_temporal: Client, tmp_path: Path
) -> None:
    records = records_of(redis, no_temporal, tmp_path)
    first = await kept(records.store, None)
    with pytest.raises(RPCError):
        await Chains(records).items([first])
    with pytest.raises(RPCError):
        await owned_records(records).get(first, "previous_response_id")


async def test_a_chain_is_not_cut_off_where_redis_does_not_answer_and_temporal_has_forgotten(
    no_redis: Redis, client_of_temporal: Client, tmp_path: Path
) -> None:
    """Redis keeps a response for 30 days, and Temporal a run for the namespace's retention."""
    records = records_of(no_redis, client_of_temporal, tmp_path)
    old = new_id("resp_")
    for reading in (records.load(old), records.load_ended([old]), records.owned(old, "default")):
        with pytest.raises(NotInTemporal):
            await reading
    with pytest.raises(NotInTemporal):
        await records.finished(old)
    lost = replace(Record.of(request(old), (), None), knows_ancestors=False)
    with pytest.raises(NotInTemporal):
        await records.with_ancestors(lost)


async def test_without_redis_a_new_idempotency_key_begins_a_response_all_the_same(
    no_redis: Redis, client_of_temporal: Client, tmp_path: Path
) -> None:
    state = SimpleNamespace(records=records_of(no_redis, client_of_temporal, tmp_path))
    assert await earlier(cast(AppState, state), "default", IdempotencyKey(new_id("resp_"), "digest")) is None


async def test_what_both_do_not_have_is_unknown(redis: Redis, client_of_temporal: Client, tmp_path: Path) -> None:
    records = records_of(redis, client_of_temporal, tmp_path)
    assert await records.load(new_id("resp_")) is None
    with pytest.raises(PreviousResponseNotFound):
        await Chains(records).items([new_id("resp_")])
