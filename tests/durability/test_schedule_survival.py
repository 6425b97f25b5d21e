"""Schedules over kills: each time has one response, whatever is replaced around it."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Stack, until

pytestmark = pytest.mark.campaign

SCHEDULES = "/v1/schedules"


async def ended_runs(client: httpx.AsyncClient, schedule_id: str, count: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []

    async def are_there() -> bool:
        rows = (await client.get(f"{SCHEDULES}/{schedule_id}/runs")).json()["data"]
        found[:] = [run for run in rows if run["status"] == "ended"]
        return len(found) >= count

    await until(are_there, 120)
    return found


async def test_a_run_whose_time_comes_while_everything_is_down_starts_once_when_it_is_back(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("scheduled over a restart", Script(words=5))
    request = {"model": "fake", "input": "scheduled over a restart"}
    at = int(time.time()) + 3
    schedule = (await client.post(SCHEDULES, json={"request": request, "at": at})).json()
    for name in [name for name in stack.processes if name.startswith(("worker-", "api"))]:
        await stack.kill(name)
    await stack.flush()

    async def is_past() -> bool:
        return time.time() > at + 2

    await until(is_past)
    await stack.heal()
    (run,) = await ended_runs(client, schedule["id"], 1)
    response = (await client.get(f"/v1/responses/{run['response_id']}")).json()
    assert (response["status"], script.attempts) == ("completed", 1)


async def test_a_scheduled_response_goes_on_while_the_api_and_the_workers_are_replaced(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("scheduled and killed", Script(words=20, hold_after=10))
    request = {"model": "fake", "input": "scheduled and killed"}
    schedule = (await client.post(SCHEDULES, json={"request": request, "cron": "@yearly"})).json()
    await client.post(f"{SCHEDULES}/{schedule['id']}/trigger")
    await script.held.wait()
    for name in [name for name in stack.processes if name.startswith(("worker-", "api"))]:
        await stack.kill(name)
    script.released.set()
    await stack.heal()
    (run,) = await ended_runs(client, schedule["id"], 1)
    response = (await client.get(f"/v1/responses/{run['response_id']}")).json()
    assert response["output"][-1]["content"][0]["text"] == script.text
    assert run["response_status"] == "completed"
    await client.delete(f"{SCHEDULES}/{schedule['id']}")
