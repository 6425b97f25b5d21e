"""Responses of a thousand turns: whole at the end, with a history that stays within Temporal's limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from temporalio.client import Client

from tests.stack import Stack, another_api, check_whole, collect
from tests.test_loop import HOSTED, outputs, script
from tests.upstream import Script, Upstream, calls

TURNS = 1000


@pytest_asyncio.fixture
async def patient_client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with another_api(stack, head="max_turns = 2000") as client:
        yield client


async def history_bytes(temporal: Client, response_id: str) -> list[int]:
    """The size of each run's history, the newest first."""
    sizes: list[int] = []
    run_id: str | None = None
    while True:
        described = await temporal.get_workflow_handle(response_id, run_id=run_id).describe()
        info = described.raw_description.workflow_execution_info
        sizes.append(info.history_size_bytes)
        first = await anext(
            temporal.get_workflow_handle(response_id, run_id=info.execution.run_id).fetch_history_events()
        )
        run_id = first.workflow_execution_started_event_attributes.continued_execution_run_id
        if not run_id:
            return sizes


@pytest.mark.timeout(400)
async def test_a_thousand_turns_are_one_whole_response(
    patient_client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    turns = [calls((f"c{i}", "get_weather", {"city": f"city {i}"})) for i in range(TURNS)]
    answer = Script(words=5)
    script(upstream, "a thousand", *turns, answer)
    events = await collect(patient_client, {"input": "a thousand", "tools": HOSTED})
    response = check_whole(events, answer.text)
    assert len(response["output"]) == 2 * TURNS + 1
    assert [json.loads(said)["city"] for said in outputs(response)] == [f"city {i}" for i in range(TURNS)]
    stored = (await patient_client.get(f"/v1/responses/{response['id']}")).json()
    assert stored["output"] == response["output"]
    temporal = await Client.connect(stack.temporal_address)
    sizes = await history_bytes(temporal, response["id"])
    assert len(sizes) > 1
    assert max(sizes) < 10_000_000
