"""Kill any process at any moment: the client's stream has no gap, no repeat, and the whole answer."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest
import redis.asyncio as aioredis
from temporalio.client import Client

from open_responses.io.redis import key_names
from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.stack import Event, Stack, check_whole, collect, events_of, text_of, until


async def stream_and(
    client: httpx.AsyncClient, prompt: str, script: Script, act: Callable[[], Awaitable[None]]
) -> list[Event]:
    """Stream an answer, do something once ten words have come, and let the answer go on behind its first half."""
    events: list[Event] = []
    has_acted = False
    async for event in events_of(client, {"model": "fake", "input": prompt}):
        events.append(event)
        if not has_acted and len(text_of(events).split()) >= 10:
            has_acted = True
            await act()
            script.released.set()
    return events


def halved_script(upstream: Upstream, prompt: str) -> Script:
    """An answer whose second half waits, so that it is under way for as long as the test needs."""
    return upstream.says(prompt, Script(words=60, gap=0.02, hold_after=30))


@pytest.mark.parametrize("seen", [True, False], ids=["seen by a supervisor", "found by its lease"])
async def test_a_killed_worker_leaves_no_gap_in_the_stream(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, seen: bool
) -> None:
    script = halved_script(upstream, f"kill me, seen {seen}")

    async def kill() -> None:
        name = await stack.busy_worker()
        await (stack.kill_seen(name) if seen else stack.kill(name))

    events = await stream_and(client, f"kill me, seen {seen}", script, kill)
    check_whole(events, script.text)
    assert script.attempts == 2
    assert [e["action"] for e in events if e["type"] == "open_responses:attempt"] == ["continued"]


@pytest.mark.campaign
async def test_a_worker_killed_before_the_first_token_is_not_noticed(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("kill before", Script(words=10, hold_after=0))
    asking = asyncio.create_task(collect(client, {"input": "kill before"}))
    await asyncio.wait_for(script.held.wait(), 50)
    await stack.kill(await stack.busy_worker())
    script.released.set()
    check_whole(await asking, script.text)


@pytest.mark.campaign
async def test_workers_killed_after_the_last_token_do_not_hang_the_stream(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """The client has the whole text; the provider's end, and so the response's, has not come yet."""
    script = upstream.says("kill at the end", Script(words=10, hold_end=True))
    events: list[Event] = []
    async for event in events_of(client, {"input": "kill at the end"}):
        events.append(event)
        if text_of(events) == script.text and not script.released.is_set():
            await asyncio.wait_for(script.held.wait(), 50)
            for name in ("worker-0", "worker-1"):
                await stack.kill(name)
            script.released.set()
            await stack.heal()
    check_whole(events, script.text)
    assert script.attempts == 2


async def _true(condition: bool) -> bool:
    return condition


async def test_sigterm_hands_the_stream_over(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    script = halved_script(upstream, "terminate")

    async def terminate() -> None:
        stack.signal(await stack.busy_worker(), signal.SIGTERM)

    events = await stream_and(client, "terminate", script, terminate)
    check_whole(events, script.text)
    assert [e["reason"] for e in events if e["type"] == "open_responses:attempt"] == ["handed_over"]
    await until(lambda: _true(any(p.poll() == 0 for p in stack.processes.values())))


@pytest.mark.campaign
async def test_a_frozen_worker_that_wakes_up_cannot_write_any_more(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = halved_script(upstream, "freeze")
    frozen: list[str] = []

    async def freeze() -> None:
        frozen.append(await stack.busy_worker())
        stack.signal(frozen[0], signal.SIGSTOP)

    async def thaw_late() -> None:
        await until(lambda: _true(script.attempts == 2))
        stack.signal(frozen[0], signal.SIGCONT)

    thawing = asyncio.create_task(thaw_late())
    try:
        events = await stream_and(client, "freeze", script, freeze)
        await thawing
    finally:
        thawing.cancel()
        for name in frozen:
            stack.signal(name, signal.SIGCONT)
    check_whole(events, script.text)
    again = [e async for e in events_of(client, resume=(events[0]["response"]["id"], None))]
    assert again == events


@pytest.mark.campaign
async def test_the_api_may_die_and_the_client_comes_back_for_the_rest(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = halved_script(upstream, "kill the api")
    events: list[Event] = []
    try:
        async for event in events_of(client, {"input": "kill the api"}):
            events.append(event)
            if len(events) == 12:
                await stack.kill("api")
                script.released.set()
    except httpx.HTTPError:
        await stack.heal()
    last = events[-1]["sequence_number"]
    events += [e async for e in events_of(client, resume=(events[0]["response"]["id"], last))]
    check_whole(events, script.text)


async def test_flushing_redis_loses_nothing(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    script = halved_script(upstream, "flush")
    redis = aioredis.Redis.from_url(stack.redis_url)

    async def flush() -> None:
        await redis.flushall()

    events = await stream_and(client, "flush", script, flush)
    response = check_whole(events, script.text)
    # The log was written again, so a client that comes back finds every event; and without Redis, Temporal has them.
    again = [e async for e in events_of(client, resume=(response["id"], 3))]
    assert again == events[4:]
    await redis.flushall()
    assert (await client.get(f"/v1/responses/{response['id']}")).json() == response
    replayed = [e async for e in events_of(client, resume=(response["id"], None))]
    assert replayed == events
    await redis.aclose()


@pytest.mark.campaign
async def test_a_worker_that_dies_with_redis_flushed_is_found_in_temporal(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("kill and flush", Script(words=10, hold_after=0))
    asking = asyncio.create_task(collect(client, {"input": "kill and flush"}))
    await asyncio.wait_for(script.held.wait(), 50)
    redis = aioredis.Redis.from_url(stack.redis_url)
    await stack.kill(await stack.busy_worker())
    await redis.flushall()
    await redis.aclose()
    script.released.set()
    check_whole(await asyncio.wait_for(asking, 50), script.text)


@pytest.mark.campaign
async def test_an_end_that_redis_never_heard_of_is_found_in_temporal(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Its log and its end are gone, as after a `finish` without Redis, and the request is there."""
    upstream.says("unheard", Script(words=3))
    response = check_whole(await collect(client, {"input": "unheard"}), "w0 w1 w2 ")
    redis = aioredis.Redis.from_url(stack.redis_url)

    async def forget() -> None:
        await redis.hdel(key_names.record(response["id"]), "response", "trace")
        await redis.delete(key_names.log(response["id"]), key_names.state(response["id"]))

    await forget()
    assert (await client.get(f"/v1/responses/{response['id']}")).json() == response
    await forget()
    body = {"model": "fake", "input": "unheard", "previous_response_id": response["id"]}
    assert (await client.post("/v1/responses", json=body)).status_code == 200
    await forget()
    assert [e async for e in events_of(client, resume=(response["id"], None))][-1]["response"] == response
    await redis.aclose()


async def test_a_chain_survives_a_flush(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    previous = None
    for turn in range(4):
        upstream.says(f"turn {turn}", Script(words=1))
        body = {"model": "fake", "input": f"turn {turn}", "previous_response_id": previous}
        if turn == 3:
            await stack.flush()
        answer = await client.post("/v1/responses", json=body)
        assert answer.status_code == 200, answer.text
        previous = answer.json()["id"]
    asked = [m["content"] for m in upstream.requests[-1]["messages"] if m["role"] == "user"]
    assert asked == ["turn 0", "turn 1", "turn 2", "turn 3"]


@pytest.mark.parametrize("part", ["valkey", "temporal"])
@pytest.mark.campaign
async def test_an_outage_of_ten_seconds_is_a_pause_at_most(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, part: str
) -> None:
    script = halved_script(upstream, f"outage of {part}")

    async def outage() -> None:
        await stack.kill(part)
        asyncio.get_running_loop().call_later(10, lambda: healing.append(asyncio.create_task(stack.start(part))))

    healing: list[asyncio.Task[None]] = []
    events = await stream_and(client, f"outage of {part}", script, outage)
    response = check_whole(events, script.text)
    await healing[0]
    assert script.attempts == 1
    # What the sample had done was kept until it could be told, and not waited for until a heartbeat was missed.
    temporal = await Client.connect(stack.temporal_address)
    history = await temporal.get_workflow_handle(response["id"]).fetch_history()
    started = [e.activity_task_started_event_attributes for e in history.events]
    assert max(attributes.attempt for attributes in started) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(after=7, drop=True),
        Fault(after=7, garbage=True),
        Fault(status=429, headers={"Retry-After": "1"}),
        Fault(status=500),
        Fault(status=503),
    ],
    ids=["drop", "garbage", "429", "500", "503"],
)
async def test_a_provider_that_fails_once_is_tried_again(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, fault: Fault
) -> None:
    script = upstream.says(f"fail {fault}", Script(words=20, faults=[fault]))
    began = time.monotonic()
    events = await collect(client, {"input": f"fail {fault}"})
    check_whole(events, script.text)
    assert script.attempts == 2
    if fault.status == 429:
        assert time.monotonic() - began > 1


@pytest.mark.campaign
async def test_a_silent_provider_is_left_after_its_timeout(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("stall", Script(words=20, faults=[Fault(after=5, stall=True)]))
    check_whole(await collect(client, {"model": "impatient", "input": "stall"}), script.text)


@pytest.mark.campaign
async def test_without_resume_the_partial_item_stays_and_is_marked(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("restart", Script(words=12, faults=[Fault(after=5, drop=True)]))
    events = await collect(client, {"model": "no-resume", "input": "restart"})
    response = check_whole(events, "w0 w1 w2 w3 w4 " + script.text)
    assert [item["status"] for item in response["output"]] == ["incomplete", "completed"]
    assert len(upstream.requests[-1]["messages"]) == 1


async def test_a_provider_that_refuses_ends_in_one_failed_event(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("refuse", Script(faults=[Fault(status=400)]))
    events = await collect(client, {"input": "refuse"})
    response = check_whole(events, "", "failed")
    assert [e["type"] for e in events[-2:]] == ["error", "response.failed"]
    assert response["error"]["code"] == "provider_rejected_request"


@pytest.mark.campaign
async def test_the_real_models_answer_is_the_same_with_a_killed_worker(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    await stack.start_local_model()
    ask = {"model": "smollm2", "input": "Tell me about rivers.", "temperature": 0, "max_output_tokens": 60}
    calm = await collect(client, ask)
    events: list[Event] = []
    killed = False
    async for event in events_of(client, ask):
        events.append(event)
        if len(events) == 20 and not killed:
            killed = True
            await stack.kill_seen(await stack.busy_worker())
    text = "".join(e["delta"] for e in calm if e["type"] == "response.output_text.delta")
    check_whole(events, text, calm[-1]["response"]["status"])
