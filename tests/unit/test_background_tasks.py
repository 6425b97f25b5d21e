"""No task dies unnoticed: each is awaited, reported, or begun again."""

from __future__ import annotations

import ast
import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from open_responses.io.background import end_tasks, in_background, kept_running
from tests.support.sources import nodes_of

ROOT = Path(__file__).parents[2]
# Each call of `create_task` or `ensure_future` outside of workflows, and what becomes of its error.
AWAITED = {
    "activities/assembly.py": 14,  # the worker's chores: one that ends, ends the process with an error
    "activities/sampling/model_answer.py": 1,  # the answer, awaited
    "activities/sampling/sample.py": 2,  # the turn, whose result is the activity's; its shielded end, awaited
    "activities/tool_calls/runner.py": 1,  # the call, whose result is the activity's
    "activities/tools/mcp_client.py": 2,  # raced, and the conversation's result taken
    "api/streaming/sse.py": 2,  # sending, whose result is taken; and the client's departure
    "api/websocket/connection.py": 3,  # reading, running and steering, all awaited
    "open_responses/io/background.py": 1,  # reports
    "open_responses/testing/loopback.py": 1,  # the fake that ships
    "processes/serve.py": 3,  # the halves, of which each that ends, ends the process; and what they wait for
    "processes/worker.py": 4,  # one that ends, ends the process with an error
}


def test_every_task_is_awaited_or_supervised() -> None:
    found: Counter[str] = Counter()
    for folder in ("activities", "api", "open_responses", "processes", "worker.py"):
        path = ROOT / folder
        for file in [path] if path.is_file() else path.rglob("*.py"):
            for node in nodes_of(file):
                if isinstance(node, ast.Attribute) and node.attr in ("create_task", "ensure_future"):
                    found[str(file.relative_to(ROOT))] += 1
    assert dict(found) == AWAITED


async def test_what_has_to_run_is_begun_again_after_an_error() -> None:
    runs, again = 0, asyncio.Event()

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise KeyError("what no author has thought of")
        again.set()
        await asyncio.sleep(3600)

    with capture_logs() as logs:
        task = asyncio.create_task(kept_running("a chore", run, again_seconds=0))
        await asyncio.wait_for(again.wait(), 50)
    assert [(line["event"], line["task"]) for line in logs] == [("background_task_died", "a chore")]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_that_nobody_awaits_is_logged() -> None:
    async def fail() -> None:
        raise KeyError("what no author has thought of")

    with capture_logs() as logs:
        task = in_background("a chore", fail())
        await asyncio.wait({task})
        await asyncio.sleep(0)
    assert [(line["event"], line["task"]) for line in logs] == [("background_task_died", "a chore")]


async def test_a_task_that_drops_a_cancellation_ends_all_the_same() -> None:
    drops = 0

    async def run() -> None:
        nonlocal drops
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                drops += 1
                if drops > 1:
                    raise

    async def answer() -> int:
        return 42

    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(run()), asyncio.create_task(answer())]
    await asyncio.wait({tasks[1]})
    async with asyncio.timeout(50):
        ended = await end_tasks(tasks)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert ended[1] == 42
    assert drops == 2
