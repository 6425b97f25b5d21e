"""`store: false` leaves nothing behind: not in Redis, nor in any file, some moments after its end (issue 6, REQ-9)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import redis.asyncio as aioredis
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.own_stack import client as client
from tests.support.own_stack import stack as stack
from tests.support.slow_reader import SlowReader
from tests.support.small_stack import files_with, keys_with, places_of, small_stack
from tests.support.stack import Stack, check_whole, collect, events_of, until

pytestmark = pytest.mark.campaign

CANARY = "canary-7f3a91"
PATIENCE = 4.0
WEATHER = [{"type": "function", "name": "get_weather"}]


@pytest_asyncio.fixture(scope="module")
async def own_stack(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> AsyncIterator[Stack]:
    data = tmp_path_factory.mktemp("unstored")
    settings = {"ERASE_AFTER_SECONDS": str(PATIENCE), "SLOW_CLIENT_SECONDS": "2", "REWRITE_REDIS_LOG": "1"}
    async with small_stack(data, upstream, **settings) as stack:
        yield stack


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": f"call_{name}", "name": name, "arguments": json.dumps(arguments)}


async def is_unknown(stack: Stack, response_id: str) -> bool:
    temporal = await Client.connect(stack.temporal_address)
    try:
        await temporal.get_workflow_handle(response_id).describe()
    except RPCError as error:
        return error.status == RPCStatusCode.NOT_FOUND
    return False


def files_named(stack: Stack, response_id: str) -> list[Path]:
    """Payloads and keys. Marks of what is erased, or is to be, have no content."""
    found, marks = list((stack.data / "blobs").rglob(response_id)), ("erased", "deletions")
    return [path for path in found if path.parent.name not in marks or size_of(path) > 0]


def size_of(path: Path) -> int:
    """0 for a file that was removed in the meantime."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


async def nothing_left(stack: Stack, response_id: str, needle: str) -> None:
    """Neither the text nor a key or payload of the response. An error of the search itself ends the test."""
    deadline = time.monotonic() + 30
    while left := [*await places_of(stack, needle), *map(str, files_named(stack, response_id))]:
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.05)


async def test_the_search_finds_what_is_stored(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    """The other tests prove something only if this one finds the text."""
    stored = f"stored-{CANARY}"
    upstream.says(stored, Script(literal=f"answer to {stored}"))
    response = check_whole(await collect(client, {"input": stored}), f"answer to {stored}")
    places = await places_of(stack, stored)
    assert f"or:{{{response['id']}}}:record" in places
    assert any(place.startswith("temporal.db") for place in places)
    assert any(place.startswith("valkey") for place in places)
    await client.delete(f"/v1/responses/{response['id']}")


async def test_an_answer_leaves_nothing(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    asked, answer = f"question {CANARY}-1", f"answer {CANARY}-1"
    upstream.says(asked, Script(literal=answer))
    body = {
        "input": asked,
        "store": False,
        "instructions": f"instructions {CANARY}-1",
        "metadata": {"m": f"{CANARY}-1"},
    }
    response = check_whole(await collect(client, body), answer)
    await nothing_left(stack, response["id"], f"{CANARY}-1")
    await until(lambda: is_unknown(stack, response["id"]))


async def test_plain_json_leaves_nothing(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    upstream.says(f"{CANARY}-2", Script(literal=f"answer {CANARY}-2"))
    response = await client.post("/v1/responses", json={"model": "fake", "input": f"{CANARY}-2", "store": False})
    await nothing_left(stack, response.json()["id"], f"{CANARY}-2")


async def test_tools_and_their_errors_leave_nothing(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Arguments are in the summaries of activities, results and errors in their completions."""
    tools = [*WEATHER, {"type": "function", "name": "fails"}, {"type": "function", "name": "big"}]
    calls = [call("get_weather", city=f"{CANARY}-3"), call("fails", final=False), call("big", megabytes=1)]
    upstream.says(f"{CANARY}-3", Script(words=0, tool_calls=calls, turns=[Script(literal=f"done {CANARY}-3")]))
    events = await collect(client, {"input": f"{CANARY}-3", "store": False, "tools": tools})
    response = events[-1]["response"]
    assert response["status"] == "completed"
    outputs = [item for item in response["output"] if item["type"] == "function_call_output"]
    assert len(outputs) == 3
    await nothing_left(stack, response["id"], f"{CANARY}-3")


async def test_a_large_input_is_encrypted_in_its_file_and_leaves_none(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    text = f"{CANARY}-4 " + "".join(random.Random(1).choices("0123456789abcdefghijklmnopqrstuvwxyz", k=400_000))
    script = upstream.says(text, Script(words=4, hold_after=2))
    reading = asyncio.create_task(collect(client, {"input": text, "store": False}))
    await asyncio.wait_for(script.held.wait(), 50)
    (folder,) = (stack.data / "blobs").glob("resp_*")
    assert list(folder.iterdir())
    assert files_with(stack.data / "blobs", f"{CANARY}-4") == []
    assert not any(place.startswith("temporal.db") for place in files_with(stack.data, f"{CANARY}-4"))
    script.released.set()
    response = check_whole(await reading, script.text)
    assert response["id"] == folder.name
    await nothing_left(stack, response["id"], f"{CANARY}-4")


async def test_a_failed_response_leaves_nothing(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    upstream.says(f"{CANARY}-5", Script(faults=[Fault(status=400)]))
    events = await collect(client, {"input": f"{CANARY}-5", "store": False})
    assert events[-1]["type"] == "response.failed"
    await nothing_left(stack, events[-1]["response"]["id"], f"{CANARY}-5")


async def test_a_worker_killed_in_the_middle_leaves_nothing(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says(f"{CANARY}-6", Script(words=40, gap=0.02))
    events = []
    async for event in events_of(client, {"input": f"{CANARY}-6", "store": False}):
        events.append(event)
        if event["type"] == "response.output_text.delta" and event["delta"] == "w9 ":
            await stack.kill_seen(await stack.busy_worker())
    response = check_whole(events, script.text)
    assert script.attempts == 2
    await nothing_left(stack, response["id"], f"{CANARY}-6")


async def test_a_flushed_redis_in_the_middle_changes_nothing(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says(f"{CANARY}-7", Script(words=40, gap=0.02))
    events = []
    async for event in events_of(client, {"input": f"{CANARY}-7", "store": False}):
        events.append(event)
        if event["type"] == "response.output_text.delta" and event["delta"] == "w9 ":
            await stack.flush()
    response = check_whole(events, script.text)
    await nothing_left(stack, response["id"], f"{CANARY}-7")


async def test_a_client_that_leaves_leaves_nothing(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    upstream.says(f"{CANARY}-8", Script(words=500, gap=0.02))
    stream = events_of(client, {"input": f"{CANARY}-8", "store": False})
    first = await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    await nothing_left(stack, first["response"]["id"], f"{CANARY}-8")


async def test_an_api_killed_in_the_middle_leaves_nothing(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Nobody is left who would hear of the end: a worker finds the key that nobody has touched."""
    script = upstream.says(f"{CANARY}-9", Script(words=4, hold_after=2))
    stream = events_of(client, {"input": f"{CANARY}-9", "store": False})
    first = await anext(stream)
    await asyncio.wait_for(script.held.wait(), 50)
    await stack.kill("api")
    with contextlib.suppress(httpx.HTTPError, AssertionError):
        await stream.aclose()  # type: ignore[attr-defined]
    assert f"or:{{{first['response']['id']}}}:record" in await keys_with(stack, f"{CANARY}-9")
    script.released.set()
    await nothing_left(stack, first["response"]["id"], f"{CANARY}-9")


async def test_a_response_of_an_idempotency_key_is_spent_once_it_is_erased(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says(f"{CANARY}-10", Script(words=3))
    body = {"model": "fake", "input": f"{CANARY}-10", "store": False}
    first = await client.post("/v1/responses", json=body, headers={"Idempotency-Key": "unstored"})
    await nothing_left(stack, first.json()["id"], f"{CANARY}-10")
    again = await client.post("/v1/responses", json=body, headers={"Idempotency-Key": "unstored"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "idempotency_key_spent")
    assert script.attempts == 1


async def test_a_large_one_whose_erasure_was_cut_off_is_unknown_and_goes_in_the_end(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Who erases takes the files first. With an `Idempotency-Key` nobody erases at once, so that the test can do it."""
    text = f"{CANARY}-13 " + "".join(random.Random(3).choices("0123456789abcdefghijklmnopqrstuvwxyz", k=400_000))
    upstream.says(text, Script(words=2))
    body = {"model": "fake", "input": text, "store": False}
    response = (await client.post("/v1/responses", json=body, headers={"Idempotency-Key": "cut off"})).json()
    (folder,) = (path for path in files_named(stack, response["id"]) if path.is_dir())
    shutil.rmtree(folder)
    assert (await client.get(f"/v1/responses/{response['id']}")).status_code == 404
    await nothing_left(stack, response["id"], f"{CANARY}-13")


async def test_a_reader_that_is_slow_still_gets_all_of_it(stack: Stack, upstream: Upstream) -> None:
    """The response ends long before its reader, who goes on as long as it reads at all."""
    script = upstream.says(f"{CANARY}-11", Script(literal=f"{CANARY}-11 " + (5000 * "x" + " ") * 600))
    reader = await SlowReader.open(stack.api_url, {"input": f"{CANARY}-11", "store": False})
    while b"response.in_progress" not in reader.received:
        await reader.read()
    (response_id,) = {event["response"]["id"] for event in reader.events() if "response" in event}
    redis = aioredis.Redis.from_url(stack.redis_url)

    async def has_ended() -> bool:
        await reader.read(1024)
        return not await redis.exists(f"or:{{{response_id}}}:record")

    await until(has_ended, 60)
    await redis.aclose()
    ended = asyncio.get_running_loop().time()
    while asyncio.get_running_loop().time() < ended + 2 * PATIENCE:
        await reader.read(65536)
        await asyncio.sleep(0.5)
    assert reader.events()[-1]["type"] == "response.output_text.delta"
    await reader.read_to_end()
    check_whole(reader.events(), script.text)
    await nothing_left(stack, response_id, f"{CANARY}-11")


async def test_deleting_a_stored_response_removes_its_payloads(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    text = f"{CANARY}-12 " + "".join(random.Random(2).choices("0123456789abcdefghijklmnopqrstuvwxyz", k=400_000))
    upstream.says(text, Script(words=2))
    response = (await client.post("/v1/responses", json={"model": "fake", "input": text})).json()
    assert len(files_named(stack, response["id"])) == 1
    assert (await client.delete(f"/v1/responses/{response['id']}")).status_code == 200
    assert files_named(stack, response["id"]) == []
