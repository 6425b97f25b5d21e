"""Budgets in US dollars: reserved before a model turn, and counted with the cost at the end."""

from __future__ import annotations

import pytest
import redis.asyncio as aioredis

from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.redis.rate_limits import Quotas, Used
from open_responses.loop.payloads.start import Admitted
from open_responses.schema.price import CostEstimate, in_nano
from tests.support.api_with_keys import fresh_key

CENT = in_nano(0.01)


def admitted(key: ApiKeyConfig, second: int = 0) -> Admitted:
    return Admitted(account=key.account, budget_usd=key.budget_usd or 0, second=second)


async def spent(redis: Redis, key: ApiKeyConfig) -> int:
    """In cents."""
    found = [name async for name in redis.scan_iter(key_names.limits(key.account, "usd:*"))]
    return sum([int(await redis.get(name) or 0) for name in found]) // CENT


async def test_a_response_reserves_its_cost_and_its_end_replaces_it(redis: Redis) -> None:
    key, quotas = fresh_key(budget_usd=1), Quotas(redis)
    cost = CostEstimate(sent=10 * CENT, answer=30 * CENT)
    standing = await quotas.admit(key, "resp_1", 5, None, answer_tokens=5, cost=cost)
    assert (standing.refused, await spent(redis, key)) == (None, 40)
    for _ in range(2):
        await quotas.settle(admitted(key, standing.second), "resp_1", Used(10, cost_usd=0.25))
    assert await spent(redis, key) == 25


async def test_what_runs_side_by_side_does_not_overrun_the_budget(redis: Redis) -> None:
    key, quotas = fresh_key(budget_usd=1), Quotas(redis)
    cost = CostEstimate(sent=10 * CENT, answer=30 * CENT)
    refused = [(await quotas.admit(key, f"resp_{one}", 5, None, cost=cost)).refused for one in range(5)]
    assert refused == [None, None, None, "cost", "cost"]
    assert (await quotas.look(key)).spent_nano == 120 * CENT


async def test_a_model_turn_that_the_budget_does_not_have_is_not_sent(redis: Redis) -> None:
    key, quotas = fresh_key(budget_usd=1), Quotas(redis)
    standing = await quotas.admit(key, "resp_1", 5, None, cost=CostEstimate(sent=10 * CENT))
    ours = admitted(key, standing.second)
    assert await quotas.charge(ours, "resp_1", 5, 0, CostEstimate(sent=90 * CENT)) is None
    assert await quotas.charge(ours, "resp_1", 5, 0, CostEstimate(sent=101 * CENT)) == "cost"
    assert await spent(redis, key) == 90, "a refused model turn changes nothing"


async def test_a_turn_that_is_cut_off_costs_what_was_sent_and_what_came(redis: Redis) -> None:
    key, quotas = fresh_key(budget_usd=10), Quotas(redis)
    standing = await quotas.admit(key, "resp_1", 5, None)
    ours = admitted(key, standing.second)
    await quotas.charge(ours, "resp_1", 5, 0, CostEstimate(sent=50 * CENT, output_million=100 * CENT))
    await quotas.settle(ours, "resp_1", Used(0, cut_off=500_000))
    assert await spent(redis, key) == 50 + 50


async def test_a_response_that_does_not_begin_costs_nothing(redis: Redis) -> None:
    key, quotas = fresh_key(budget_usd=1), Quotas(redis)
    standing = await quotas.admit(key, "resp_1", 5, None, cost=CostEstimate(sent=60 * CENT))
    await quotas.withdraw(admitted(key, standing.second), "resp_1")
    assert await spent(redis, key) == 0


async def test_a_reservation_goes_back_to_the_period_that_it_was_made_in(redis: Redis) -> None:
    key, quotas = fresh_key(budget_usd=1, budget_period="day"), Quotas(redis)
    await quotas.admit(key, "resp_1", 5, None, cost=CostEstimate(sent=60 * CENT))
    (today,) = [name async for name in redis.scan_iter(key_names.limits(key.account, "usd:*"))]
    # As if the day had ended since.
    yesterday = today[:-10] + b"2001-01-01"
    await redis.rename(today, yesterday)
    await redis.hset(key_names.limits(key.account, "reserved"), "resp_1:usd:in", yesterday)
    await quotas.settle(Admitted(account=key.account, budget_period="day"), "resp_1", Used(5, cost_usd=0.2))
    assert (int(await redis.get(yesterday)), int(await redis.get(today))) == (0, 20 * CENT)


async def test_without_redis_a_process_goes_on_from_the_cost_that_it_read_last(redis: Redis) -> None:
    key, quotas = fresh_key(budget_usd=1), Quotas(redis)
    await quotas.admit(key, "resp_1", 5, None, cost=CostEstimate(sent=60 * CENT))
    quotas._redis = aioredis.Redis.from_url("redis://127.0.0.1:9/0")
    assert (await quotas.admit(key, "resp_2", 5, None, cost=CostEstimate(sent=30 * CENT))).refused is None
    assert (await quotas.admit(key, "resp_3", 5, None, cost=CostEstimate(sent=30 * CENT))).refused == "cost"


@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan"), 10_000_000])
def test_a_budget_that_cannot_be_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="budget_usd"):
        fresh_key(budget_usd=wrong)
