"""Long responses: whole at the end, with a history that grows by the turn and stays within Temporal's limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from statistics import fmean

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.history_cost import bytes_by_turn, runs_of
from tests.support.scripts import HOSTED, outputs, script
from tests.support.stack import Stack, another_api, check_whole, collect

pytestmark = pytest.mark.campaign

# Enough for Temporal to ask for a second run.
TURNS = 350


@pytest_asyncio.fixture
async def patient_client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with another_api(stack, head="max_turns = 2000") as client:
        yield client


@pytest.mark.timeout(300)
async def test_hundreds_of_turns_are_one_whole_response(
    patient_client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    turns = [calls((f"c{i}", "get_weather", {"city": f"city {i}"})) for i in range(TURNS)]
    answer = Script(words=5)
    script(upstream, "hundreds", *turns, answer)
    events = await collect(patient_client, {"input": "hundreds", "tools": HOSTED})
    response = check_whole(events, answer.text)
    assert len(response["output"]) == 2 * TURNS + 1
    assert [json.loads(said)["city"] for said in outputs(response)] == [f"city {i}" for i in range(TURNS)]
    stored = (await patient_client.get(f"/v1/responses/{response['id']}")).json()
    assert stored["output"] == response["output"]
    runs = await runs_of(await Client.connect(stack.temporal_address), response["id"])
    assert len(runs) > 1
    assert max(sum(event.ByteSize() for event in events) for events in runs) < 10_000_000


async def test_a_late_turn_adds_as_much_to_history_as_an_early_one(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    turns = [calls((f"c{i:02}", "get_weather", {"city": f"city {i:02}"})) for i in range(60)]
    script(upstream, "sixty", *turns, Script(words=5))
    response = (await collect(client, {"input": "sixty", "tools": HOSTED}))[-1]["response"]
    assert response["status"] == "completed"
    sizes = await bytes_by_turn(await Client.connect(stack.temporal_address), response["id"])
    assert len(sizes) == 61
    early, late = fmean(sizes[5:20]), fmean(sizes[40:60])
    assert abs(late - early) < 0.05 * early, f"{early:.0f} bytes a turn, then {late:.0f}"
