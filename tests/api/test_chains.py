"""The conversation behind a response: read once, remembered in bounds, and gone with what was deleted (REQ-1)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest
import pytest_asyncio
import redis.asyncio as aioredis
from temporalio.client import Client

from open_responses.context.texts import texts_of
from open_responses.errors import PreviousResponseNotFound
from open_responses.ids import new_id
from open_responses.io.redis import key_names
from open_responses.io.redis.rate_limits import Used
from open_responses.io.store.chains import Chains
from open_responses.io.store.conversation_pieces import ConversationPieces
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import Records
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import create
from tests.support.stack import Stack, check_whole, collect


@pytest_asyncio.fixture
async def records(stack: Stack, tmp_path: Path) -> AsyncIterator[Records]:
    """The store that the stack has, and its Temporal."""
    redis = aioredis.Redis.from_url(stack.redis_url)
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    yield Records(ResponseStore(redis, ttl_seconds=60, log_ttl_seconds=60), temporal, ConversationPieces(tmp_path))
    await redis.aclose()


async def stored(records: Records, said: str, answered: str, *before: str) -> str:
    """A response that has ended, as `finish` leaves it."""
    request = CreateResponse(model="fake", input=said, previous_response_id=before[-1] if before else None)
    start = StartResponse(
        response_id=new_id("resp_"),
        tenant="default",
        created_at=int(time.time()),
        request=request,
        provider="fake",
        upstream_model="fake",
        retry_window=1,
    )
    await records.store.begin(start, before)
    await records.store.finish(start, answer(answered), [], Used(0))
    return start.response_id


def answer(text: str) -> bytes:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
    return orjson.dumps({"output": [message], "usage": None})


async def rewrite(stack: Stack, response_id: str, text: str) -> None:
    """What no part of ours does: to see who reads it again."""
    async with aioredis.Redis.from_url(stack.redis_url) as redis:
        await redis.hset(key_names.record(response_id), "response", answer(text))  # type: ignore[misc]


async def texts(chains: Chains, *ancestors: str) -> list[str]:
    return [text for item in await chains.items(ancestors) for text in texts_of(item)]


async def test_what_a_response_said_is_read_once(records: Records, stack: Stack) -> None:
    chains = Chains(records)
    first = await stored(records, "a", "b")
    second = await stored(records, "c", "d", first)
    assert await texts(chains, first) == ["a", "b"]
    await rewrite(stack, first, "read again")
    assert await texts(chains, first, second) == ["a", "b", "c", "d"]
    other = await stored(records, "e", "f", first)
    assert await texts(chains, first, other) == ["a", "b", "e", "f"]
    assert await texts(Chains(records), first, second) == ["a", "read again", "c", "d"]


async def test_what_was_deleted_is_gone_from_memory_as_well(records: Records) -> None:
    chains = Chains(records)
    first = await stored(records, "a", "b")
    second = await stored(records, "c", "d", first)
    assert await texts(chains, first, second) == ["a", "b", "c", "d"]
    await records.store.delete(first)
    with pytest.raises(PreviousResponseNotFound):
        await chains.items([first, second])
    assert await texts(chains, second) == ["c", "d"]


async def test_what_does_not_fit_into_memory_is_read_again(records: Records, stack: Stack) -> None:
    chains = Chains(records, remembered_bytes=100_000)
    short = await stored(records, "a", "b")
    long = await stored(records, "c", "d" * 95_000, short)
    assert await texts(chains, short) == ["a", "b"]
    assert await texts(chains, short, long) == ["a", "b", "c", "d" * 95_000]
    await rewrite(stack, short, "read again")
    assert await texts(chains, short) == ["a", "read again"]


async def test_the_parts_of_a_chain_are_those_of_its_requests(records: Records) -> None:
    """What the start of a response says is read without the rest of it: the items are the same."""
    given = [{"role": "user", "content": "x"}, {"type": "message", "role": "developer", "content": "y"}]
    first = await stored(records, "a", "b")
    request = CreateResponse.model_validate({"model": "fake", "input": given, "previous_response_id": first})
    record = await records.load(first)
    assert record is not None
    start = record.start.model_copy(update={"request": request, "response_id": new_id("resp_")})
    await records.store.begin(start, [first])
    await records.store.finish(start, answer("z"), [], Used(0))
    items = await Chains(records).items([start.response_id])
    assert items[:-1] == start.input_items()


@pytest.mark.campaign
async def test_a_chain_with_a_deleted_link_is_refused_however_often_it_was_used(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    links: list[str] = []
    for turn in range(6):
        response = await create(client, input=f"link {turn}", previous_response_id=links[-1] if links else None)
        links.append(response["id"])
    assert (await client.delete(f"/v1/responses/{links[1]}")).status_code == 200
    upstream.says("one link too many", Script())
    for _ in range(2):
        events = await collect(client, {"input": "one link too many", "previous_response_id": links[-1]})
        response = events[-1]["response"]
        assert (response["status"], response["error"]["code"]) == ("failed", "previous_response_not_found")
    other = await collect(client, {"input": "one link too many", "previous_response_id": links[0]})
    check_whole(other, Script().text)
