"""When a provider stays down: the route's fallbacks, and the circuit breaker that all workers share."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis

from open_responses.errors import ProviderRateLimited, ProviderUnavailable
from open_responses.io.redis import key_names
from open_responses.io.redis.breaker import Breaker
from open_responses.io.redis.client import connect
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.scraped import scraped, total
from tests.support.stack import Event, Stack, another_api, check_whole, collect

pytestmark = pytest.mark.campaign


def attempts(events: list[Event]) -> list[tuple[str, str]]:
    return [(e["provider"], e["action"]) for e in events if e["type"] == "open_responses:attempt"]


# For how long a provider that is down is tried.
IMPATIENT = {"OPEN_RESPONSES_RETRY_WINDOW_SECONDS": "3"}


async def forget_failures(stack: Stack) -> None:
    client = aioredis.Redis.from_url(stack.redis_url)
    await client.delete(key_names.breaker("down"), key_names.breaker("fake"))
    await client.aclose()


async def test_a_provider_that_stays_down_is_left_for_the_first_fallback_that_can_be_asked(
    stack: Stack, upstream: Upstream
) -> None:
    await forget_failures(stack)
    script = upstream.says("down, then up", Script(words=10))
    async with another_api(stack, env=IMPATIENT) as client:
        before = await scraped(client, stack)
        events = await collect(client, {"model": "falls-back", "input": "down, then up"})
        after = await scraped(client, stack)
    fallbacks = [total(samples, "open_responses_fallbacks_total", provider="fake") for samples in (before, after)]
    assert fallbacks[1] - fallbacks[0] == 1
    response = check_whole(events, script.text)
    assert response["model"] == "falls-back"
    assert attempts(events) == [("fake", "fallback")]
    assert upstream.requests[-1]["model"] == "fake"
    assert len(response["output"]) == 1


async def test_after_a_fallback_all_later_turns_go_there(stack: Stack, upstream: Upstream) -> None:
    await forget_failures(stack)
    script = upstream.says("turns after a fallback", calls(("c1", "get_weather", {"city": "Rome"})))
    script.turns.append(Script(words=5))
    tools = [{"type": "function", "name": "get_weather"}]
    async with another_api(stack, env=IMPATIENT) as client:
        events = await collect(client, {"model": "falls-back", "input": "turns after a fallback", "tools": tools})
    check_whole(events, script.turns[0].text)
    assert attempts(events) == [("fake", "fallback")]


async def test_a_stream_that_breaks_again_and_again_is_begun_anew_elsewhere(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    await forget_failures(stack)
    script = upstream.says("breaks thrice", Script(words=12, faults=[Fault(after=2 + i, drop=True) for i in range(3)]))
    events = await collect(client, {"model": "breaks", "input": "breaks thrice"})
    response = events[-1]["response"]
    assert response["status"] == "completed"
    assert attempts(events) == [("fake", "continued"), ("fake", "continued"), ("no-resume", "restarted")]
    assert [item["status"] for item in response["output"]] == ["incomplete", "completed"]
    assert response["output"][1]["content"][0]["text"] == script.text


async def test_without_a_fallback_the_response_fails_with_the_providers_code(stack: Stack) -> None:
    await forget_failures(stack)
    async with another_api(stack, env=IMPATIENT) as client:
        events = await collect(client, {"model": "down", "input": "nobody is there"})
    assert [e["type"] for e in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "provider_unavailable"


async def test_a_refused_request_does_not_fall_back(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("refused, not down", Script(faults=[Fault(status=400)]))
    events = await collect(client, {"model": "breaks", "input": "refused, not down"})
    assert events[-1]["response"]["error"]["code"] == "provider_rejected_request"
    assert script.attempts == 1


# --- the circuit breaker


async def test_five_failures_in_a_row_open_the_breaker_for_everybody_and_one_success_closes_it(stack: Stack) -> None:
    redis = connect(stack.redis_url)
    one, other = Breaker(redis), Breaker(redis)
    name = "breaker-test"
    await redis.delete(key_names.breaker(name))
    try:
        for _ in range(4):
            await one.failed(name, ProviderUnavailable("down"))
        await one.failed(name, ProviderRateLimited("busy is not down"))
        assert await other.ask(name) == 0
        await one.failed(name, ProviderUnavailable("down"))
        assert 0 < await other.ask(name) <= 10
        await other.succeeded(name)
        assert await one.ask(name) == 0
    finally:
        await redis.delete(key_names.breaker(name))
        await redis.aclose()


async def test_when_the_wait_is_over_one_is_let_through_and_the_others_wait(stack: Stack) -> None:
    redis = connect(stack.redis_url)
    breaker = Breaker(redis)
    name = "half-open-test"
    try:
        for _ in range(5):
            await breaker.failed(name, ProviderUnavailable("down"))
        await redis.hset(key_names.breaker(name), "until", "1")  # type: ignore[misc]
        assert await breaker.ask(name) == 0
        assert await breaker.ask(name) > 0
        assert await redis.pttl(key_names.breaker(name)) > 0
    finally:
        await redis.delete(key_names.breaker(name))
        await redis.aclose()


async def test_an_open_breaker_sends_new_responses_to_the_fallback_without_a_try(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    await forget_failures(stack)
    redis = connect(stack.redis_url)
    breaker = Breaker(redis)
    for _ in range(5):
        await breaker.failed("down", ProviderUnavailable("down"))
    failures = await redis.hget(key_names.breaker("down"), "failures")  # type: ignore[misc]
    script = upstream.says("not even tried", Script(words=5))
    events = await collect(client, {"model": "falls-back", "input": "not even tried"})
    check_whole(events, script.text)
    reasons: list[Any] = [e["reason"] for e in events if e["type"] == "open_responses:attempt"]
    assert "failed repeatedly" in reasons[0]
    assert await redis.hget(key_names.breaker("down"), "failures") == failures  # type: ignore[misc]
    await redis.delete(key_names.breaker("down"))
    await redis.aclose()
