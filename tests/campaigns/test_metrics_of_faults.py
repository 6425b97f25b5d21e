"""What faults leave in the metrics: a flushed Redis, one that is away, a lost stream, a person who is waited for."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scraped import samples_in, scraped, total
from tests.support.scripts import HOSTED, script
from tests.support.stack import Stack, another_api, check_whole, events_of, until

pytestmark = pytest.mark.campaign


async def test_a_log_that_redis_forgot_is_counted_when_it_is_restored(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    held = upstream.says("restored and counted", Script(words=6, hold_after=3))
    before = await scraped(client, stack)
    stream = events_of(client, {"input": "restored and counted"})
    events = [await anext(stream)]
    await held.held.wait()
    await stack.flush()
    held.released.set()
    events += [event async for event in stream]
    check_whole(events, held.text)
    after = await scraped(client, stack)
    name = "open_responses_logs_restored_total"
    assert total(after, name, outcome="restored") > total(before, name, outcome="restored")
    assert total(after, name, outcome="lost") == total(before, name, outcome="lost")


async def test_an_outage_of_redis_shows_on_every_process_that_reaches_it_no_more(
    stack: Stack, client: httpx.AsyncClient
) -> None:
    before = await scraped(client, stack)

    async def reach(redis: int) -> bool:
        # Temporal is reached all along; a busy machine may make it slow for a moment.
        now, name = await scraped(client, stack), "open_responses_dependency_up"
        return (total(now, name, dependency="redis"), total(now, name, dependency="temporal")) == (redis, 3)

    await until(lambda: reach(3), seconds=60)
    await stack.kill("valkey")
    await until(lambda: reach(0), seconds=60)
    await stack.heal()
    await until(lambda: reach(3), seconds=60)
    after, name = await scraped(client, stack), "open_responses_dependency_outages_total"
    assert total(after, name, dependency="redis") - total(before, name, dependency="redis") == 3


async def test_a_stream_that_is_lost_is_counted_where_it_was_sent(stack: Stack, upstream: Upstream) -> None:
    literal = "".join(f"first{i} " for i in range(40))
    lost = upstream.says("lost and counted", Script(literal=literal, hold_after=20, gap=0.02))
    async with another_api(stack, env={"OPEN_RESPONSES_READER_COPIES_BYTES": "0"}) as api:
        stream, kinds = events_of(api, {"input": "lost and counted"}), list[str]()

        async def follow() -> None:
            kinds.extend([event["type"] async for event in stream])

        following = asyncio.create_task(follow())
        await lost.held.wait()
        for name in ("worker-0", "worker-1"):
            await stack.kill(name)
        await stack.flush()
        upstream.says("lost and counted", Script(words=4))
        await stack.heal()
        await asyncio.wait_for(following, 60)
        assert kinds[-1] == "error"
        samples = samples_in((await api.get("/metrics")).text)
        assert total(samples, "open_responses_stream_lost_total") == 1


async def test_a_response_that_waits_for_a_person_is_counted_as_waiting(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "waits for a person", calls(("c1", "delete_all", {"what": "all"})), Script(words=3))

    async def waiting() -> float:
        samples = samples_in((await client.get("/metrics")).text)
        return total(samples, "open_responses_waiting_responses", reason="approval")

    body = {"model": "fake", "input": "waits for a person", "tools": HOSTED, "background": True}
    started = (await client.post("/v1/responses", json=body)).json()

    async def is_counted() -> bool:
        return await waiting() >= 1

    await until(is_counted, seconds=60)
    await client.post(f"/v1/responses/{started['id']}/cancel")
