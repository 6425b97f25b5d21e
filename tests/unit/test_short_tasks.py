"""A worker runs its short workflow tasks in the thread of its event loop, and the long ones in other threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from open_responses.io.temporal.cached_runs import CachedRuns
from open_responses.io.temporal.sdk_worker import WorkflowActivation
from open_responses.io.temporal.short_tasks import ShortTasksInline

SHORT, LONG = 10, 100_000


def activation(size: int, run_id: str = "a") -> WorkflowActivation:
    act = WorkflowActivation(run_id=run_id)
    act.jobs.add().signal_workflow.input.add().data = b"x" * size
    return act


def thread_of(_: WorkflowActivation) -> int:
    """As the SDK's activation, it leaves the thread without a running event loop."""
    asyncio._set_running_loop(None)
    return threading.get_ident()


async def ran_in(runs: CachedRuns, act: WorkflowActivation) -> int:
    loop = asyncio.get_running_loop()
    with ShortTasksInline(runs, threads=2) as executor:
        thread: int = await loop.run_in_executor(executor, thread_of, act)
    assert asyncio.get_running_loop() is loop
    return thread


async def test_a_short_task_runs_in_the_event_loops_thread_and_leaves_the_loop_running() -> None:
    assert await ran_in(CachedRuns(10**9), activation(SHORT)) == threading.get_ident()


async def test_a_task_with_a_large_payload_runs_in_another_thread() -> None:
    assert await ran_in(CachedRuns(10**9), activation(LONG)) != threading.get_ident()


async def test_a_short_task_of_a_run_that_has_received_much_runs_in_another_thread() -> None:
    runs = CachedRuns(10**9)
    runs.begin("a", activation(LONG))
    runs.end("a")
    assert await ran_in(runs, activation(SHORT)) != threading.get_ident()
    assert await ran_in(runs, activation(SHORT, "b")) == threading.get_ident()


async def test_an_error_of_a_short_task_reaches_its_caller() -> None:
    def fails(_: WorkflowActivation) -> None:
        raise ValueError("broken")

    loop = asyncio.get_running_loop()
    with ShortTasksInline(CachedRuns(10**9), threads=1) as executor, pytest.raises(ValueError, match="broken"):
        await loop.run_in_executor(executor, fails, activation(SHORT))
    assert asyncio.get_running_loop() is loop
