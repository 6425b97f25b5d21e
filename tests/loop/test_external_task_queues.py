"""Hosted tools that workers of another fleet run, on task queues of their own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import outputs, run, script
from tests.support.stack import Stack

FLEET = Path(__file__).parents[2] / "examples" / "fleet"
TOOLS = [{"type": "function", "name": "word_count"}]

needs_node = pytest.mark.skipif(shutil.which("npm") is None, reason="needs Node.js and npm, for the TypeScript worker")


@pytest_asyncio.fixture
async def fleet(stack: Stack) -> AsyncIterator[None]:
    """The example, as its first lines say, in a process group of its own: npm starts node below it."""
    if not (FLEET / "node_modules" / "@temporalio").is_dir():
        install = ("npm", "ci", "--no-audit", "--no-fund")
        subprocess.run(install, cwd=FLEET, check=True, timeout=100, stdin=subprocess.DEVNULL)  # noqa: ASYNC221
    env = {**os.environ, "TEMPORAL_ADDRESS": stack.temporal_address}
    with (stack.data / "logs" / "fleet.log").open("ab") as log:
        process = subprocess.Popen(("npm", "start"), cwd=FLEET, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, 15)
        await asyncio.to_thread(process.wait, 20)


@pytest.mark.campaign
@needs_node
@pytest.mark.timeout(200)
async def test_a_tool_of_another_fleet_in_another_language(
    client: httpx.AsyncClient, fleet: None, upstream: Upstream
) -> None:
    long = "the river and the sea " * 400
    wanted = calls(*((str(n), "word_count", {"text": text}) for n, text in enumerate(["a b b", 5, long])))
    script(upstream, "count the words", wanted, Script(words=3))
    response = await run(client, "count the words", tools=TOOLS)
    first, second, third = outputs(response)
    assert json.loads(first) == {"words": 3, "top": [["b", 2], ["a", 1]], "key": f"{response['id']}:0"}
    assert second == "text: expected a string"
    assert json.loads(third)["top"][0] == ["the", 800]


async def test_a_trace_goes_through_to_a_fleet(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    given: list[dict[str, Any]] = []

    @activity.defn(name="fleet_tool")
    async def fleet_tool(call: dict[str, Any]) -> str:
        given.append(call)
        return "7"

    traceparent = f"00-{uuid.uuid4().hex}-b7ad6b7169203331-01"
    script(upstream, "trace a fleet", calls(("a", "fleet_tool", {"a": 3, "b": 4})), Script(words=2))
    async with Worker(
        await Client.connect(stack.temporal_address), task_queue="another-fleet", activities=[fleet_tool]
    ):
        body = {"model": "fake", "input": "trace a fleet", "tools": [{"type": "function", "name": "fleet_tool"}]}
        response = (await client.post("/v1/responses", json=body, headers={"traceparent": traceparent})).json()
    assert outputs(response) == ["7"]
    assert [call["context"]["traceparent"] for call in given] == [traceparent]


async def test_arguments_that_no_fleet_could_read_are_said_to_be_too_long(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "count a lot", calls(("a", "word_count", {"text": "x" * 120_000})), Script(words=3))
    response = await run(client, "count a lot", tools=TOOLS)
    assert outputs(response) == ["The arguments of 'word_count' are too long. Call it again with less."]
