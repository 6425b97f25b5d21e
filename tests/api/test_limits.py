"""Limits of API keys, and of the server itself: what is refused, with which headers, and that nothing leaks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import time
from typing import Any

import httpx
import openai
import pytest
import redis.asyncio as aioredis
import websockets
from openai import AsyncOpenAI
from temporalio.client import Client

from dev import services
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.redis.rate_limits import Quotas, Used, settle
from open_responses.loop.payloads.start import Admitted
from tests.support.api_with_keys import api_of_the_module, bearer, blocks_of, fresh_key, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Stack, another_api, events_of, until

KEYS = {
    "requests": "requests_per_minute = 5",
    "tokens": "tokens_per_minute = 100",
    "places": "max_concurrent = 2",
    "budget": "budget_tokens = 20",
    "daily": 'budget_tokens = 20\nbudget_period = "day"',
    "both": "requests_per_minute = 1000\ntokens_per_minute = 100000",
    "none": "",
    "socket": "requests_per_minute = 2",
    "heavy": "weight = 2.5",
}


api = api_of_the_module(*blocks_of("t", KEYS))


async def ask(api: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    headers = bearer(key) if key else {}
    return await api.post("/v1/responses", json={"model": "fake", "input": "hello", **body}, headers=headers)


async def test_the_sixth_request_of_a_minute_is_refused_and_says_when_to_come_back(api: httpx.AsyncClient) -> None:
    for count in range(5):
        answer = await ask(api, "requests")
        assert answer.status_code == 200
        assert answer.headers["x-ratelimit-limit-requests"] == "5"
        assert answer.headers["x-ratelimit-remaining-requests"] == str(4 - count)
        assert "x-ratelimit-limit-tokens" not in answer.headers
    refused = await ask(api, "requests")
    is_error(refused, 429, "rate_limit_exceeded")
    assert refused.json()["error"]["type"] == "too_many_requests"
    assert "5 requests a minute" in refused.json()["error"]["message"]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert re.fullmatch(r"1m0s|5\d?s", refused.headers["x-ratelimit-reset-requests"])
    assert (await api.get("/v1/models", headers=bearer("requests"))).status_code == 200
    sdk = AsyncOpenAI(base_url=f"{api.base_url}/v1", api_key="requests", max_retries=0)
    with pytest.raises(openai.RateLimitError):
        await sdk.responses.create(model="fake", input="hello")


async def test_the_window_slides(redis: Redis) -> None:
    key, quotas = fresh_key(requests_per_minute=2), Quotas(redis)
    assert (await quotas.admit(key, "resp_1", 0, key.max_concurrent)).refused is None
    first = (await redis.hkeys(key_names.limits(key.account, "requests")))[0]
    assert (await quotas.admit(key, "resp_2", 0, key.max_concurrent)).refused is None
    refused = await quotas.admit(key, "resp_3", 0, key.max_concurrent)
    assert refused.refused == "requests"
    assert refused.wait_seconds is not None
    assert 50 < refused.wait_seconds <= 60
    # As if the first had been made 30 seconds earlier: there is room for one when it leaves, and not before.
    await redis.hincrby(key_names.limits(key.account, "requests"), first, -1)
    await redis.hincrby(key_names.limits(key.account, "requests"), str(int(first) - 30), 1)
    sooner = await quotas.admit(key, "resp_3", 0, key.max_concurrent)
    assert sooner.refused == "requests"
    assert sooner.wait_seconds is not None
    assert sooner.wait_seconds <= 30
    await redis.hincrby(key_names.limits(key.account, "requests"), str(int(first) - 30), -1)
    await redis.hincrby(key_names.limits(key.account, "requests"), str(int(first) - 60), 1)
    assert (await quotas.admit(key, "resp_3", 0, key.max_concurrent)).refused is None


async def test_tokens_are_estimated_before_and_counted_after(api: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("short", Script(words=40))
    first = await ask(api, "tokens", input="short")
    assert first.json()["usage"]["total_tokens"] == 50
    # What was about seven tokens before was fifty after.
    assert int(first.headers["x-ratelimit-remaining-tokens"]) == 100 - 7
    second = await ask(api, "tokens", input="short")
    assert int(second.headers["x-ratelimit-remaining-tokens"]) == 50 - 7
    refused = await ask(api, "tokens", input="hello")
    is_error(refused, 429, "rate_limit_exceeded")
    assert "100 tokens a minute" in refused.json()["error"]["message"]
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    assert 1 <= int(refused.headers["retry-after"]) <= 60


async def test_an_input_beyond_the_limit_is_not_worth_another_try(api: httpx.AsyncClient) -> None:
    refused = await ask(api, "tokens", input="word " * 200)
    is_error(refused, 429, "rate_limit_exceeded")
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers


async def test_a_stream_and_a_400_carry_the_same_headers(api: httpx.AsyncClient) -> None:
    body = {"model": "fake", "input": "hello", "stream": True}
    async with api.stream("POST", "/v1/responses", json=body, headers=bearer("both")) as stream:
        assert stream.headers["x-ratelimit-limit-requests"] == "1000"
        assert stream.headers["x-ratelimit-remaining-requests"] == "999"
        assert stream.headers["x-ratelimit-limit-tokens"] == "100000"
        # A minute, less what the request took on its way.
        assert re.fullmatch(r"1m0s|[1-5]?\ds", stream.headers["x-ratelimit-reset-tokens"])
        await stream.aread()
    bad = await ask(api, "both", input=7)
    assert bad.status_code == 400
    assert bad.headers["x-ratelimit-remaining-requests"] == "999"
    free = await ask(api, "none")
    assert not [name for name in free.headers if name.startswith("x-ratelimit")]


async def test_places_are_given_back_at_the_end_however_it_ends(api: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("take a place", Script(words=5, hold_after=2))
    first, second = [(await ask(api, "places", input="take a place", background=True)).json() for _ in range(2)]
    refused = await ask(api, "places")
    is_error(refused, 429, "rate_limit_exceeded")
    assert "2 responses at a time" in refused.json()["error"]["message"]
    assert refused.headers["retry-after"] == "2"
    cancelled = await api.post(f"/v1/responses/{first['id']}/cancel", headers=bearer("places"))
    assert cancelled.json()["status"] == "cancelled"
    script.released.set()

    async def has_ended() -> bool:
        return bool((await api.get(f"/v1/responses/{second['id']}", headers=bearer("places"))).json()["completed_at"])

    await until(has_ended)
    assert [(await ask(api, "places")).status_code for _ in range(4)] == [200] * 4


async def test_a_refused_request_takes_no_place(api: httpx.AsyncClient) -> None:
    for _ in range(4):
        assert (await ask(api, "places", previous_response_id="resp_" + "0" * 48)).status_code == 400
        assert (await ask(api, "places", model="no-such-model")).status_code == 404
    assert (await ask(api, "places")).status_code == 200


async def test_a_client_that_leaves_takes_no_place_for_longer_than_its_response(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("leave a place", Script(words=5, hold_after=2))
    for _ in range(2):
        async with api.stream(
            "POST",
            "/v1/responses",
            json={"model": "fake", "input": "leave a place", "stream": True},
            headers=bearer("places"),
        ) as stream:
            assert stream.status_code == 200
    assert (await ask(api, "places")).status_code == 429
    script.released.set()

    async def is_let_in() -> bool:
        return (await ask(api, "places")).status_code == 200

    await until(is_let_in)


async def test_a_place_whose_response_ended_unseen_is_free_again(
    api: httpx.AsyncClient, redis: Redis, upstream: Upstream
) -> None:
    running = key_names.limits(ApiKeyConfig.model_validate(_table("places")).account, "running")
    script = upstream.says("still there", Script(words=5, hold_after=2))
    real = (await ask(api, "places", input="still there", background=True)).json()
    # A crash between the place and the workflow's start left one; both leases have ended.
    await redis.zadd(running, {"resp_" + "0" * 48: 1, real["id"]: 1})
    assert (await ask(api, "places")).status_code == 429

    async def is_let_in() -> bool:
        return (await ask(api, "places")).status_code == 200

    await until(is_let_in)
    assert float(await redis.zscore(running, real["id"])) > (time.time() + 60) * 1000
    script.released.set()


def _table(key: str) -> dict[str, Any]:
    return {"tenant": f"t-{key}", "sha256": hashlib.sha256(key.encode()).hexdigest()}


@pytest.mark.parametrize(("key", "period"), [("budget", "month"), ("daily", "day")])
async def test_a_spent_budget_refuses_what_comes_after(
    api: httpx.AsyncClient, upstream: Upstream, key: str, period: str
) -> None:
    upstream.says("spend", Script(words=15))
    assert (await ask(api, key, input="spend")).status_code == 200
    refused = await ask(api, key, input="spend")
    is_error(refused, 429, "token_budget_exceeded")
    assert f"20 tokens a {period}" in refused.json()["error"]["message"]
    assert refused.headers["x-should-retry"] == "false"


async def test_a_response_is_counted_once_however_often_it_is_finished(redis: Redis) -> None:
    key, quotas = fresh_key(tokens_per_minute=1000, budget_tokens=1000), Quotas(redis)
    standing = await quotas.admit(key, "resp_1", 100, key.max_concurrent)
    admitted = Admitted(account=key.account, tokens=100, second=standing.second)
    for _ in range(3):
        await settle(redis, admitted, "resp_1", Used(40))
    after = await quotas.look(key)
    assert (after.tokens, after.spent) == (40, 40)


async def test_a_burst_at_several_processes_gets_not_one_place_too_many(stack: Stack) -> None:
    # A few connections each, as a process has. Of 200 that are made at once, a busy machine lets some time out, and a
    # process that does not reach Redis admits by its own count.
    pools = [
        aioredis.BlockingConnectionPool.from_url(
            stack.redis_url, max_connections=5, timeout=None, socket_connect_timeout=50
        )
        for _ in range(4)
    ]
    clients = [aioredis.Redis.from_pool(pool) for pool in pools]
    key, processes = fresh_key(requests_per_minute=50, max_concurrent=20), [Quotas(client) for client in clients]
    standings = await asyncio.gather(*(processes[i % 4].admit(key, f"resp_{i}", 0, 20) for i in range(200)))
    assert sum(standing.refused is None for standing in standings) == 20
    for client in clients:
        await client.aclose()


async def test_no_key_of_the_limits_lives_for_ever(api: httpx.AsyncClient, redis: Redis) -> None:
    await ask(api, "both")
    found = [name async for name in redis.scan_iter("or:{limits:*")]
    assert len(found) > 3
    assert all([await redis.ttl(name) > 0 for name in found])


async def test_without_redis_each_process_goes_on_counting_from_where_all_were(redis: Redis) -> None:
    key = fresh_key(requests_per_minute=5, max_concurrent=3)
    mine, others = Quotas(redis), Quotas(redis)
    for index in range(3):
        assert (await others.admit(key, f"resp_{index}", 0, key.max_concurrent)).refused is None
        await settle(redis, Admitted(account=key.account, second=1), f"resp_{index}", Used(0))
    assert (await mine.admit(key, "resp_mine", 0, key.max_concurrent)).requests == 4
    away = Quotas(aioredis.Redis.from_url("redis://127.0.0.1:9/0"))
    mine._redis, away_standing = away._redis, await away.admit(key, "resp_a", 0, key.max_concurrent)
    assert away_standing.refused is None
    assert (await mine.admit(key, "resp_b", 0, key.max_concurrent)).refused is None
    refused = await mine.admit(key, "resp_c", 0, key.max_concurrent)
    assert refused.refused == "requests"
    assert refused.wait_seconds is not None
    assert 0 < refused.wait_seconds <= 60
    assert [(await away.admit(key, f"resp_{i}", 0, key.max_concurrent)).refused for i in range(3)] == [
        None,
        None,
        "running",
    ]


@pytest.mark.campaign
async def test_while_redis_is_away_the_limit_holds_and_requests_are_answered_again_afterwards(
    stack: Stack, upstream: Upstream
) -> None:
    async with keyed_api(stack, key_block("t", "outage", "requests_per_minute = 3")) as client:
        assert (await ask(client, "outage")).status_code == 200
        await stack.kill_valkey_synced()
        upstream.says("without redis", Script(words=3))
        waiting = [asyncio.create_task(ask(client, "outage", input="without redis")) for _ in range(4)]
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result().status_code for task in done} == {429}, "the refused ones wait for nothing"
        await stack.heal()
        answers = await asyncio.gather(*waiting)
        assert sorted(answer.status_code for answer in answers) == [200, 200, 429, 429]


@pytest.mark.campaign
async def test_nothing_is_accepted_while_too_much_work_waits_and_nothing_accepted_is_lost(stack: Stack) -> None:
    """Both workers are stopped; what came before the limit was reached is answered when they are back."""
    async with another_api(stack, env={"OPEN_RESPONSES_MAX_BACKLOG": "5"}) as client:
        assert (await ask(client, "")).status_code == 200
        await stop_workers(stack)
        accepted: list[str] = []

        async def is_refused() -> bool:
            answer = await ask(client, "", background=True)
            if answer.status_code == 200:
                accepted.append(answer.json()["id"])
                return False
            is_error(answer, 503, "overloaded")
            assert answer.headers["retry-after"] == "5"
            return True

        await until(is_refused, 15)
        assert len(accepted) > 5
        await stack.heal()

        async def is_answered() -> bool:
            answers = [await client.get(f"/v1/responses/{id}") for id in accepted]
            return all(answer.json()["status"] == "completed" for answer in answers)

        await until(is_answered, 40)

        async def is_open_again() -> bool:
            return (await ask(client, "")).status_code == 200

        await until(is_open_again)


@pytest.mark.campaign
async def test_a_queue_that_stands_still_is_noticed_by_its_age(stack: Stack) -> None:
    async with another_api(stack, env={"OPEN_RESPONSES_MAX_BACKLOG_AGE_SECONDS": "1.5"}) as client:
        await stop_workers(stack)
        assert (await ask(client, "", background=True)).status_code == 200

        async def is_refused() -> bool:
            return (await ask(client, "", previous_response_id="resp_" + "0" * 48)).status_code == 503

        await until(is_refused, 15)
        await stack.heal()


@pytest.mark.campaign
async def test_who_fills_the_queue_is_refused_and_others_are_let_in(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("fill the queue", Script(words=4, hold_after=2))
    blocks = [key_block("greedy", "greedy"), key_block("modest", "modest")]
    few_slots = {"OPEN_RESPONSES_MAX_CONCURRENT_SAMPLES": "2"}
    stack.env |= few_slots
    try:
        for name in ("worker-0", "worker-1"):
            await services.stop(stack.processes[name])
            await stack.start(name)
        async with keyed_api(stack, *blocks, MAX_BACKLOG="5") as client:
            accepted: list[str] = []

            async def is_refused() -> bool:
                answer = await ask(client, "greedy", input="fill the queue", background=True)
                if answer.status_code == 503:
                    is_error(answer, 503, "overloaded")
                else:
                    accepted.append(answer.json()["id"])
                return answer.status_code == 503

            async def have_ended() -> bool:
                answers = [await client.get(f"/v1/responses/{one}", headers=bearer("greedy")) for one in accepted]
                return all(answer.json()["status"] == "completed" for answer in answers)

            await until(is_refused, 20)
            # Its turn comes as soon as a slot is free, however many of the other's wait.
            modest = asyncio.create_task(ask(client, "modest"))
            await asyncio.wait({modest}, timeout=1)
            script.released.set()
            answer = await modest
            assert answer.status_code == 200, answer.text
            assert answer.json()["status"] == "completed"
            # The next test counts what the workers do.
            await until(have_ended, 100)
    finally:
        script.released.set()
        for name in few_slots:
            del stack.env[name]
        await stop_workers(stack)
        await stack.heal()


async def stop_workers(stack: Stack) -> None:
    for name in ("worker-0", "worker-1"):
        stack.signal(name, signal.SIGTERM)
        await asyncio.to_thread(stack.processes[name].wait, 30)


@pytest.mark.parametrize(("tier", "priority"), [("priority", 1), ("default", 3), (None, 3), ("flex", 5)])
async def test_the_service_tier_and_the_tenants_weight_are_the_workflows_priority(
    stack: Stack, api: httpx.AsyncClient, tier: str | None, priority: int
) -> None:
    """Activities inherit it; `benchmarks/parts/fairness.py` shows what comes of it."""
    response = (await ask(api, "heavy", **({"service_tier": tier} if tier else {}))).json()
    temporal = await Client.connect(stack.temporal_address)
    info = (await temporal.get_workflow_handle(response["id"]).describe()).raw_description.workflow_execution_info
    assert (info.priority.priority_key, info.priority.fairness_key) == (priority, "t-heavy")
    assert info.priority.fairness_weight == 2.5


async def test_turns_on_a_socket_are_counted_like_requests(api: httpx.AsyncClient) -> None:
    url = f"ws://127.0.0.1:{api.base_url.port}/v1/responses"
    turn = json.dumps({"type": "response.create", "model": "fake", "input": "hello"})
    ends: list[str] = []
    async with websockets.connect(url, additional_headers=bearer("socket"), proxy=None) as connection:
        for _ in range(3):
            await connection.send(turn)
            async for message in connection:
                event = json.loads(message)
                if event["type"] in ("response.completed", "error"):
                    ends.append(event["type"] if event["type"] != "error" else event["error"]["code"])
                    break
    assert ends == ["response.completed", "response.completed", "rate_limit_exceeded"]


async def test_events_of_a_limited_key_are_like_all_others(api: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("as ever", Script(words=6))
    api.headers.update(bearer("both"))
    try:
        events = [event async for event in events_of(api, {"input": "as ever"})]
    finally:
        del api.headers["authorization"]
    assert "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta") == script.text
