"""Budgets and limits on tokens: what was sent to a provider is counted, and what a budget does not have is not sent."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis

from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.redis.rate_limits import Quotas, Used, settle
from open_responses.loop.payloads.start import Admitted
from tests.support.api_with_keys import api_of_the_module, bearer, blocks_of, fresh_key, key_block
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.stack import until

pytestmark = pytest.mark.campaign

KEYS = {
    "tool turn": "budget_tokens = 500",
    "long input": "budget_tokens = 1000000",
    "side by side": "budget_tokens = 500",
    "loop": "budget_tokens = 600",
    "chain": "tokens_per_minute = 1000000",
    "unsettled": "budget_tokens = 1000",
}
HOSTED = [{"type": "function", "name": "get_weather"}]


api = api_of_the_module(*blocks_of("t", KEYS))


def account(key: str) -> str:
    table = key_block("t", key).splitlines()
    return ApiKeyConfig(tenant="t", sha256=table[-1].split('"')[1]).account


async def spent(redis: Redis, account: str) -> int:
    found = [name async for name in redis.scan_iter(key_names.limits(account, "spent:*"))]
    return sum([int(await redis.get(name) or 0) for name in found])


async def ask(api: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    return await api.post("/v1/responses", json={"model": "fake", **body}, headers=bearer(key))


async def cancel_when_held(api: httpx.AsyncClient, key: str, script: Script, **body: Any) -> None:
    """Begin a response in the background, and cancel it once its provider has stopped in the middle."""
    begun = (await ask(api, key, background=True, **body)).json()
    await asyncio.wait_for(script.held.wait(), 50)
    cancelled = await api.post(f"/v1/responses/{begun['id']}/cancel", headers=bearer(key))
    assert cancelled.json()["status"] == "cancelled", cancelled.text


async def test_a_long_second_turn_that_is_cancelled_is_counted(
    api: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    second = Script(words=1000, hold_after=600)
    upstream.says("use a tool, then go on", calls(("call_1", "get_weather", {"city": "Paris"}), turns=[second]))
    await cancel_when_held(api, "tool turn", second, input="use a tool, then go on", tools=HOSTED)
    assert await spent(redis, account("tool turn")) > 500, "600 words were had"
    refused = await ask(api, "tool turn", input="more")
    assert refused.json()["error"]["code"] == "token_budget_exceeded"


async def test_an_input_that_was_sent_is_counted_though_no_word_came_back(
    api: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    for count in range(1, 4):
        script = upstream.says("go on", Script(words=3, hold_after=0))
        body = [{"role": "user", "content": "x" * 400_000}, {"role": "user", "content": "go on"}]
        await cancel_when_held(api, "long input", script, input=body)
        assert 90_000 * count < await spent(redis, account("long input")) < 130_000 * count


async def test_what_runs_side_by_side_does_not_overrun_the_budget(
    api: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    """Each of these uses 110 tokens and says so before: four fit into 500, and the fifth begins below it."""
    script = upstream.says("side by side", Script(words=100, hold_after=50))
    body = {"input": "side by side", "max_output_tokens": 100, "background": True}
    answers = [await ask(api, "side by side", **body) for _ in range(10)]
    begun = [answer.json()["id"] for answer in answers if answer.status_code == 200]
    refused = {answer.json()["error"]["code"] for answer in answers if answer.status_code != 200}
    script.released.set()

    async def have_ended() -> bool:
        found = [await api.get(f"/v1/responses/{one}", headers=bearer("side by side")) for one in begun]
        return all(one.json()["status"] == "completed" for one in found)

    await until(have_ended)
    assert refused == {"token_budget_exceeded"}
    assert len(begun) == 5
    assert await spent(redis, account("side by side")) == 5 * 110


async def test_a_loop_ends_before_the_turn_that_its_budget_does_not_have(
    api: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    turns = [calls((f"call_{i}", "get_weather", {"city": "x" * 400})) for i in range(1, 50)]
    upstream.says("round and round", calls(("call_0", "get_weather", {"city": "x" * 400}), turns=turns))
    answer = (await ask(api, "loop", input="round and round", tools=HOSTED)).json()
    assert (answer["status"], answer["error"]["code"]) == ("failed", "token_budget_exceeded")
    assert "model turn" in answer["error"]["message"]
    assert answer["output"], "what was done before it stays"
    assert await spent(redis, account("loop")) <= 600


async def test_the_chain_belongs_to_the_estimate(api: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("first link", Script(words=1000))
    first = await ask(api, "chain", input="first link" + " " * 4000)
    before = int((await ask(api, "chain", input="alone")).headers["x-ratelimit-remaining-tokens"])
    second = await ask(api, "chain", input="alone", previous_response_id=first.json()["id"])
    assert before - int(second.headers["x-ratelimit-remaining-tokens"]) > 1000


async def test_an_end_that_redis_missed_is_counted_later(
    api: httpx.AsyncClient, upstream: Upstream, redis: Redis
) -> None:
    ours = account("unsettled")
    upstream.says("unsettled", Script(words=90))
    ended = (await ask(api, "unsettled", input="unsettled")).json()
    counted = await spent(redis, ours)
    assert counted == ended["usage"]["total_tokens"]
    # As if Redis had been away at the end: the reservation is there still, and the lease ends.
    names = [name async for name in redis.scan_iter(key_names.limits(ours, "spent:*"))]
    await redis.delete(key_names.limits(ours, "settled"))
    await redis.set(names[0], 7, keepttl=True)
    await redis.hset(key_names.limits(ours, "reserved"), ended["id"], 7)
    await redis.zadd(key_names.limits(ours, "running"), {ended["id"]: 1})
    assert (await ask(api, "unsettled", input="look after it")).status_code == 200

    async def is_counted() -> bool:
        return await spent(redis, ours) >= counted and not await redis.zscore(
            key_names.limits(ours, "running"), ended["id"]
        )

    await until(is_counted)


async def test_a_response_that_ends_after_a_flush_is_counted(redis: Redis) -> None:
    key, quotas = fresh_key(budget_tokens=1000), Quotas(redis)
    standing = await quotas.admit(key, "resp_1", 100, None, answer_tokens=50)
    assert await spent(redis, key.account) == 150
    admitted = Admitted(account=key.account, budget_tokens=1000, tokens=100, second=standing.second)
    async for name in redis.scan_iter(key_names.limits(key.account, "*")):
        await redis.delete(name)
    for _ in range(2):
        await settle(redis, admitted, "resp_1", Used(120))
    assert await spent(redis, key.account) == 120


async def test_what_is_reserved_is_given_back_by_a_response_that_does_not_begin(redis: Redis) -> None:
    key, quotas = fresh_key(budget_tokens=1000), Quotas(redis)
    standing = await quotas.admit(key, "resp_1", 600, None)
    assert (await quotas.admit(key, "resp_2", 600, None)).refused == "budget"
    admitted = Admitted(account=key.account, budget_tokens=1000, tokens=600, second=standing.second)
    await quotas.withdraw(admitted, "resp_1")
    assert (await quotas.admit(key, "resp_2", 600, None)).refused is None


async def test_places_that_were_taken_stay_taken_while_redis_is_away(redis: Redis) -> None:
    key, quotas = fresh_key(max_concurrent=3), Quotas(redis)
    for index in range(3):
        assert (await quotas.admit(key, f"resp_{index}", 0, 3)).refused is None
    quotas._redis = aioredis.Redis.from_url("redis://127.0.0.1:9/0")
    assert (await quotas.admit(key, "resp_3", 0, 3)).refused == "running"


async def test_places_that_were_taken_while_redis_was_away_stay_taken_when_it_is_back(redis: Redis) -> None:
    key, quotas = fresh_key(max_concurrent=3), Quotas(aioredis.Redis.from_url("redis://127.0.0.1:9/0"))
    for index in range(3):
        assert (await quotas.admit(key, f"resp_{index}", 0, 3)).refused is None
    quotas._redis = redis
    await settle(redis, Admitted(account=key.account), "resp_0", Used(5))
    assert (await quotas.admit(key, "resp_3", 0, 3)).refused is None, "the first has ended"
    assert (await quotas.admit(key, "resp_4", 0, 3)).refused == "running"


async def test_a_response_that_begins_after_it_was_taken_for_gone_is_counted(redis: Redis) -> None:
    """Temporal did not know it when it was asked; its client sends it again with the same `Idempotency-Key`."""
    key, quotas = fresh_key(budget_tokens=1000), Quotas(redis)
    standing = await quotas.admit(key, "resp_1", 100, None)
    admitted = Admitted(account=key.account, budget_tokens=1000, tokens=100, second=standing.second)
    await quotas.settle(admitted, "resp_1", Used(0, cut_off=0))
    assert await spent(redis, key.account) == 0
    assert await quotas.charge(admitted, "resp_1", 100, 0) is None
    await quotas.settle(admitted, "resp_1", Used(130))
    assert await spent(redis, key.account) == 130


async def test_a_place_that_is_taken_again_behind_the_end_is_freed_and_counts_nothing(redis: Redis) -> None:
    key, quotas = fresh_key(budget_tokens=1000, max_concurrent=1), Quotas(redis)
    admitted = Admitted(account=key.account, budget_tokens=1000)
    await quotas.admit(key, "resp_1", 100, 1)
    await quotas.settle(admitted, "resp_1", Used(130))
    await quotas.admit(key, "resp_1", 100, 1)
    await quotas.settle(admitted, "resp_1", Used(130))
    assert await spent(redis, key.account) == 130
    assert (await quotas.admit(key, "resp_2", 100, 1)).refused is None


async def test_a_reservation_goes_back_to_the_period_that_it_was_made_in(redis: Redis) -> None:
    key, quotas = fresh_key(budget_tokens=1000, budget_period="day"), Quotas(redis)
    await quotas.admit(key, "resp_1", 600, None)
    (today,) = [name async for name in redis.scan_iter(key_names.limits(key.account, "spent:*"))]
    # As if the day had ended since.
    yesterday = today[:-10] + b"2001-01-01"
    await redis.rename(today, yesterday)
    await redis.hset(key_names.limits(key.account, "reserved"), "resp_1:in", yesterday)
    await quotas.admit(key, "resp_2", 100, None)
    await quotas.settle(Admitted(account=key.account, budget_period="day"), "resp_1", Used(50))
    assert int(await redis.get(yesterday)) == 0
    assert int(await redis.get(today)) == 100 + 50
