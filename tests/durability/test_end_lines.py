"""The end of a response: its log line is written once, and it comes also where Redis never takes it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from activities.lifecycle.finish import FinishActivity
from open_responses.deltas import TextDelta
from open_responses.loop.end_line import END
from open_responses.loop.payloads.finish import FinishInput, FinishResult
from open_responses.loop.payloads.names import FINISH
from tests.support.repeated_task import Bench, bench
from tests.support.stack import Stack
from workflows import calls

pytestmark = pytest.mark.campaign


@pytest_asyncio.fixture
async def loop(stack: Stack) -> AsyncIterator[Bench]:
    async with bench(stack.temporal_address, stack.redis_url) as this:
        yield this


@pytest.mark.parametrize("store", [True, False])
async def test_an_end_that_is_repeated_is_logged_once(loop: Bench, store: bool) -> None:
    loop.turns = [[TextDelta("hello")]]

    async def nothing() -> None:
        pass

    loop.repetition.behind(FINISH, nothing)
    with capture_logs() as logged:
        running = await loop.start({"store": store})
        finished = await running.handle.result()
    assert finished.response["status"] == "completed"
    assert loop.repetition.times == 1
    (line,) = [line for line in logged if line["event"] == END]
    assert (line["response_id"], line["turns"], line["attempts"]) == (running.id, 1, 1)


async def test_a_response_whose_end_redis_never_takes_ends_in_temporal(
    loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: FinishActivity, call: FinishInput) -> FinishResult:
        raise ConnectionError(f"Redis does not answer for {call.start.response_id}")

    monkeypatch.setattr(FinishActivity, "finish", fail)
    monkeypatch.setattr(calls, "_FINISH_ATTEMPTS", 3)
    loop.turns = [[TextDelta("hello")]]
    running = await loop.start({})
    finished = await running.result()
    assert finished.response["status"] == "completed"
    assert len(loop.finishing.asked) == 3
