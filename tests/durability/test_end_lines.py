"""The log line at the end of a response: once, also where a workflow task repeats its end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from open_responses.deltas import TextDelta
from open_responses.loop.end_line import END
from open_responses.loop.payloads import FINISH
from tests.support.repeated_task import Bench, bench
from tests.support.stack import Stack

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
