"""Faults in the middle of a tool and between turns: the loop goes on, and no finished call runs twice."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import redis.asyncio as aioredis

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import HOSTED, outputs, script, types
from tests.support.stack import Event, Stack, check_whole, events_of, until
from tests.support.streams_with_faults import stream_and

pytestmark = pytest.mark.campaign


def in_a_tool(event: Event) -> bool:
    """The tool `slow` says that it runs."""
    return bool(event["type"] == "open_responses:tool_progress")


def between_turns(event: Event) -> bool:
    """A tool's output is there, and the next sample is not."""
    return bool(event["type"] == "response.output_item.done" and event["item"]["type"] == "function_call_output")


def notes(stack: Stack, events: list[Event]) -> list[str]:
    """What the tool `slow` noted: `<call> <attempt> <key>` at its start, `<call> done` at its end."""
    file: Path = stack.data / "hosted" / f"{events[0]['response']['id']}.slow"
    return file.read_text().splitlines()


def slow_loop(upstream: Upstream, prompt: str, seconds: float = 1.5) -> Script:
    """Two turns with tools, then an answer. Returns the answer's script."""
    answer = Script(words=20, gap=0.01)
    script(
        upstream,
        prompt,
        calls(("a", "slow", {"seconds": seconds}), ("b", "once", {"text": prompt})),
        calls(("c", "get_weather", {"city": "Rome"})),
        answer,
    )
    return answer


def check_loop(stack: Stack, events: list[Event], answer: Script, prompt: str, seconds: float = 1.5) -> None:
    response = check_whole(events, answer.text)
    assert types(response) == ["function_call"] * 2 + ["function_call_output"] * 2 + [
        "function_call",
        "function_call_output",
        "message",
    ]
    assert outputs(response)[:2] == [f"slept {seconds:g}", "written"]
    key = f"{response['id']}:b"
    lines = (stack.data / "hosted" / "lines").read_text().splitlines()
    assert [line for line in lines if line.startswith(f"{key} ")] == [f"{key} {prompt}"]


@pytest.mark.parametrize("seen", [True, False], ids=["seen by a supervisor", "found by its lease"])
async def test_a_worker_killed_in_a_tool_runs_that_call_again_and_no_finished_one(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, seen: bool
) -> None:
    prompt = f"kill in a tool, seen {seen}"
    answer = slow_loop(upstream, prompt)

    async def kill() -> None:
        await until(lambda: _has_line(stack, prompt))
        await asyncio.sleep(0.2)
        name = await stack.busy_worker()
        await (stack.kill_seen(name) if seen else stack.kill(name))

    events = await stream_and(client, prompt, kill, once=in_a_tool)
    check_loop(stack, events, answer, prompt)
    key = f"{events[0]['response']['id']}:a"
    assert notes(stack, events) == [f"a 1 {key}", f"a 2 {key}", "a done"]


async def _has_line(stack: Stack, prompt: str) -> bool:
    file = stack.data / "hosted" / "lines"
    return file.exists() and prompt in file.read_text()


async def test_a_worker_killed_between_two_turns_repeats_no_tool(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    prompt = "kill between turns"
    answer = slow_loop(upstream, prompt, 0.3)

    async def kill() -> None:
        for name in ("worker-0", "worker-1"):
            await stack.kill(name)
        await stack.heal()

    events = await stream_and(client, prompt, kill, once=between_turns)
    check_whole(events, answer.text)
    assert (stack.data / "hosted" / "lines").read_text().count(f"{events[0]['response']['id']}:b ") == 1


async def test_sigterm_lets_a_short_tool_finish(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    prompt = "terminate in a short tool"
    answer = slow_loop(upstream, prompt, 1.0)

    async def terminate() -> None:
        stack.signal(await stack.busy_worker(), signal.SIGTERM)

    events = await stream_and(client, prompt, terminate, once=in_a_tool)
    check_loop(stack, events, answer, prompt, 1.0)
    assert len(notes(stack, events)) == 2


async def test_sigterm_hands_a_long_tool_over(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    prompt = "terminate in a long tool"
    answer = slow_loop(upstream, prompt, 5.0)

    async def terminate() -> None:
        stack.signal(await stack.busy_worker(), signal.SIGTERM)

    events = await stream_and(client, prompt, terminate, once=in_a_tool)
    check_loop(stack, events, answer, prompt, 5.0)
    assert [line.split()[1] for line in notes(stack, events)] == ["1", "2", "done"]


@pytest.mark.parametrize("moment", [in_a_tool, between_turns])
async def test_flushing_redis_loses_nothing_of_a_loop(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, moment: Callable[[Event], bool]
) -> None:
    prompt = f"flush {moment.__name__}"
    answer = slow_loop(upstream, prompt, 0.8)
    redis = aioredis.Redis.from_url(stack.redis_url)

    async def flush() -> None:
        await redis.flushall()

    events = await stream_and(client, prompt, flush, once=moment)
    check_loop(stack, events, answer, prompt, 0.8)
    response = events[-1]["response"]
    assert [e async for e in events_of(client, resume=(response["id"], 3))] == events[4:]
    await redis.flushall()
    assert (await client.get(f"/v1/responses/{response['id']}")).json() == response
    assert [e async for e in events_of(client, resume=(response["id"], None))] == events
    await redis.aclose()


@pytest.mark.parametrize("part", ["valkey", "temporal"])
async def test_an_outage_during_a_tool_is_a_pause_at_most(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, part: str
) -> None:
    prompt = f"outage of {part} in a tool"
    answer = slow_loop(upstream, prompt)
    healing: list[asyncio.Task[None]] = []

    async def outage() -> None:
        await until(lambda: _has_line(stack, prompt))
        await asyncio.sleep(0.3)
        await stack.kill(part)
        asyncio.get_running_loop().call_later(5, lambda: healing.append(asyncio.create_task(stack.start(part))))

    events = await stream_and(client, prompt, outage, once=in_a_tool)
    check_loop(stack, events, answer, prompt)
    await healing[0]
    assert len(notes(stack, events)) == 2


async def test_the_api_may_die_during_a_tool(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    prompt = "kill the api in a tool"
    answer = slow_loop(upstream, prompt)
    events: list[Event] = []
    try:
        async for event in events_of(client, {"model": "fake", "input": prompt, "tools": HOSTED}):
            events.append(event)
            if in_a_tool(event):
                await stack.kill("api")
    except httpx.HTTPError:
        await stack.heal()
    last = events[-1]["sequence_number"]
    events += [e async for e in events_of(client, resume=(events[0]["response"]["id"], last))]
    check_loop(stack, events, answer, prompt)
