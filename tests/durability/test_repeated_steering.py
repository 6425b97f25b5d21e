"""A workflow task that is repeated with a message of the user in it publishes what its first run published."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from open_responses.deltas import TextDelta, ToolCallDelta
from open_responses.events.lifecycle import whole_stream
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.names import PUBLISH
from open_responses.loop.payloads.steering import Steer
from open_responses.loop.payloads.tool_calls import ToolResult
from open_responses.loop.steering import messages_of
from open_responses.schema.steering import validate_steer
from open_responses.tool_use.waiting import WOKEN
from tests.support.repeated_task import TOOL, WAIT, Bench, Running, bench
from tests.support.stack import Stack

pytestmark = pytest.mark.campaign


@pytest_asyncio.fixture
async def loop(stack: Stack) -> AsyncIterator[Bench]:
    async with bench(stack.temporal_address, stack.redis_url) as this:
        yield this


def call(name: str, arguments: str) -> list[Any]:
    return [ToolCallDelta(index=0, call_id="call_a", name=name, arguments=arguments)]


class Steers:
    """Messages that are sent while the workflow's task does not end, and their answers."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._sent: list[asyncio.Task[Any]] = []

    async def send(self, text: str) -> None:
        messages = messages_of(validate_steer({"input": text}))
        steer = Steer(steer_id=f"steer_{text}", digest=text, messages=messages)
        update = self._running.handle.execute_update("steer", steer)
        self._sent.append(asyncio.create_task(update))
        # Temporal has it, and hands it to the next task, or to the one that is repeated.
        await asyncio.sleep(0.5)

    async def are_accepted(self) -> None:
        await asyncio.gather(*self._sent)


async def agreed(loop: Bench, running: Running) -> list[str]:
    """The texts of the output, which the log, the store and the workflow's result have in common."""
    finished = await running.result()
    assert loop.repetition.times == 1
    assert not loop.finishing.has_diverged
    log = await running.log()
    assert [event["sequence_number"] for event in log] == list(range(len(log)))
    assert log[-1]["response"] == finished.response == await running.stored()
    assert list(whole_stream(loop.started.initial(), finished.response, finished.trace)) == log
    assert finished.response["status"] == "completed", finished.response
    return [text_of(item) for item in finished.response["output"] if item["type"] != "function_call"]


def text_of(item: JsonObject) -> str:
    text: str = item["output"] if "output" in item else item["content"][0]["text"]
    return text


async def test_a_message_behind_one_that_was_published_waits_for_the_next_turn(loop: Bench) -> None:
    loop.turns = [call(TOOL, "{}"), [TextDelta("first")], [TextDelta("second")]]
    began, released = asyncio.Event(), asyncio.Event()

    async def tool(_: Any) -> ToolResult:
        began.set()
        await released.wait()
        return ToolResult(outcome="done", output="sunny")

    loop.tool = tool
    running = await loop.start({})
    steers = Steers(running)
    # The third publication, behind the call's output and its end, has the first message.
    loop.repetition.behind(PUBLISH, lambda: steers.send("two"), count=3)
    await asyncio.wait_for(began.wait(), 50)
    await steers.send("one")
    released.set()
    assert await agreed(loop, running) == ["sunny", "one", "first", "two", "second"]
    await steers.are_accepted()


async def test_a_message_behind_the_published_end_of_a_wait_does_not_change_it(loop: Bench) -> None:
    loop.turns = [call(WAIT, '{"seconds": 0.5}'), [TextDelta("awake")], [TextDelta("again")]]
    running: Running

    async def steer() -> None:
        await Steers(running).send("hurry")

    # Behind the call's output, and the progress event that says how long.
    loop.repetition.behind(PUBLISH, steer, count=3)
    running = await loop.start({})
    texts = await agreed(loop, running)
    assert texts[0] == "The wait is over: it was for 0.5 s."
    # It is read by the turn that follows, or by the one after it.
    assert sorted(texts[1:]) in (["awake", "hurry"], ["again", "awake", "hurry"])


async def test_the_end_of_a_wait_behind_its_published_waking_does_not_change_it(loop: Bench) -> None:
    loop.turns = [call(WAIT, '{"seconds": 3}'), [TextDelta("awake")]]
    running: Running

    async def until_its_time_has_come() -> None:
        await asyncio.sleep(4)

    loop.repetition.behind(PUBLISH, until_its_time_has_come, count=3)
    running = await loop.start({})
    steers = Steers(running)
    await asyncio.sleep(0.5)
    await steers.send("hurry")
    assert await agreed(loop, running) == [WOKEN, "hurry", "awake"]
    await steers.are_accepted()
