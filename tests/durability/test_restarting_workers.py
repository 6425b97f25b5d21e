"""Workers that die and come back under the same name: what they ran is taken over, and no tool runs too often."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.stack import Stack, check_whole, collect, until

pytestmark = pytest.mark.campaign

# The heartbeat of an activity is missed after 60 s: what is found sooner was found by its lease.
_SOONER_THAN_A_HEARTBEAT_SECONDS = 45


async def test_a_worker_that_restarts_under_its_old_name_takes_over_what_it_ran(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """As in a container: host name and process id are those of the process before, and no other worker is left."""
    await stack.kill("worker-1")
    await stack.kill("worker-0")
    await stack.start("worker-0", "the-same-name")
    script = upstream.says("restart under the same name", Script(words=10, hold_after=3))
    asking = asyncio.create_task(collect(client, {"input": "restart under the same name"}))
    await asyncio.wait_for(script.held.wait(), 50)
    await stack.kill("worker-0")
    await stack.start("worker-0", "the-same-name")
    script.released.set()
    check_whole(await asyncio.wait_for(asking, _SOONER_THAN_A_HEARTBEAT_SECONDS), script.text)


async def test_lost_workers_and_failed_attempts_of_a_tool_count_together(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """`max_attempts` is 3: two attempts fail, the worker of the third is killed, and there is no fourth."""
    answer = Script(words=3)
    upstream.says("stumble", calls(("a", "stumbles", {}), turns=[answer]))
    asking = asyncio.create_task(
        collect(client, {"input": "stumble", "tools": [{"type": "function", "name": "stumbles"}]})
    )
    await until(lambda: _has_begun_three_times(stack.data / "hosted"), 30)
    await stack.kill_seen(await stack.busy_worker())
    response = check_whole(await asyncio.wait_for(asking, _SOONER_THAN_A_HEARTBEAT_SECONDS), answer.text)
    (output,) = [item["output"] for item in response["output"] if item["type"] == "function_call_output"]
    assert output.startswith("The worker that ran 'stumbles' was lost; the call was not finished.")
    assert "must not be repeated without checking" in output
    assert _attempts(stack.data / "hosted") == ["1", "2", "3"]


def _attempts(folder: Path) -> list[str]:
    return [line for file in folder.glob("*.stumbles") for line in file.read_text().splitlines()]


async def _has_begun_three_times(folder: Path) -> bool:
    return len(_attempts(folder)) >= 3
