"""Schemas are checked in processes with limits, off the event loop, so one tenant's check does not stop another's."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from open_responses.errors import SchemaTooComplex
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.schema_checks.pool import CheckExceeded, SchemaProcesses
from open_responses.schema.requests import CreateResponse, validate_create_response
from tests.support.schema_bombs import ENDLESS, SLOW, endless_answer, slow_answer

ODD = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^[a-z]+$"}}}


def asked(schema: dict[str, Any]) -> CreateResponse:
    form = {"type": "json_schema", "name": "f", "schema": schema}
    return validate_create_response({"model": "m", "input": "x", "text": {"format": form}})


@pytest_asyncio.fixture
async def processes() -> AsyncIterator[SchemaProcesses]:
    pool = SchemaProcesses()
    yield pool
    await pool.close()


@pytest_asyncio.fixture
async def checks() -> AsyncIterator[SchemaChecks]:
    made = SchemaChecks()
    yield made
    await made.close()


def pids(pool: SchemaProcesses) -> list[int]:
    return [process.pid for process in pool._idle]


def ordinary(text: str = '{"a":"b"}') -> dict[str, Any]:
    return {"schemas": [ODD], "text": text}


def bomb() -> dict[str, Any]:
    return {"schemas": [SLOW], "text": slow_answer()}


async def test_a_small_answer_to_a_plain_schema_needs_no_process(checks: SchemaChecks) -> None:
    plain = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    assert await checks.schema_problems([plain, plain], "t") == [None, None]
    assert await checks.format_problem(asked(plain), '{"a":"b"}', "t") is None
    assert pids(checks._processes) == []


async def test_a_process_says_what_is_wrong_and_is_kept(checks: SchemaChecks) -> None:
    assert await checks.format_problem(asked(ODD), '{"a":"b"}', "t") is None
    kept = pids(checks._processes)
    assert "$.a" in str(await checks.format_problem(asked(ODD), '{"a":"B"}', "t"))
    assert "not JSON" in str(await checks.format_problem(asked(ODD), "{" * 5000, "t"))
    assert await checks.schema_problems([ODD, {"type": "strnig"}], "t") != [None, None]
    assert pids(checks._processes) == kept
    assert len(kept) == 1


@pytest.mark.parametrize(
    ("schema", "answer", "limit"), [(SLOW, slow_answer(), "CPU time"), (ENDLESS, endless_answer(), "memory|CPU time")]
)
async def test_a_check_that_does_not_end_fails_alone(
    checks: SchemaChecks, schema: dict[str, Any], answer: str, limit: str
) -> None:
    """The event loop turns all the time, and the next check has a new process."""
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    turning = asyncio.create_task(turn())
    endless = asyncio.create_task(checks.format_problem(asked(schema), answer, "a"))
    assert await checks.format_problem(asked(ODD), '{"a":"b"}', "another") is None
    assert not endless.done(), "the other tenant did not wait for it"
    before = turns
    # A busy machine may not give the process its CPU time before the other limit.
    with pytest.raises(SchemaTooComplex, match=f"too much ({limit})|more than 30 seconds"):
        await endless
    assert turns > before + 100
    turning.cancel()
    assert await checks.format_problem(asked(ODD), '{"a":"b"}', "a") is None


async def test_a_check_that_takes_too_much_memory_fails_alone(processes: SchemaProcesses) -> None:
    # Four bytes a character, once as text and once as a value: memory runs out long before the CPU time does.
    text = '["' + "x" * 70_000_000 + '\U0001f600"]'
    with pytest.raises(CheckExceeded, match="memory"):
        await processes.check({"schemas": [], "text": text}, "a")
    assert await processes.check(ordinary(), "a") == [None]


async def test_one_tenant_never_has_all_processes(processes: SchemaProcesses) -> None:
    bombs = [asyncio.create_task(processes.check(bomb(), "a")) for _ in range(20)]
    await asyncio.sleep(0)
    for _ in range(3):
        assert await processes.check(ordinary(), "b") == [None]
    assert not any(task.done() for task in bombs[1:])
    for task in bombs:
        task.cancel()
    await asyncio.gather(*bombs, return_exceptions=True)
    assert await processes.check(ordinary(), "a") == [None]


async def test_a_cancelled_check_ends_its_process(processes: SchemaProcesses) -> None:
    assert await processes.check(ordinary(), "a") == [None]
    (pid,) = pids(processes)
    endless = asyncio.create_task(processes.check(bomb(), "a"))
    while pids(processes):
        await asyncio.sleep(0.01)
    endless.cancel()
    with pytest.raises(asyncio.CancelledError):
        await endless
    await processes.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_process_that_was_killed_is_replaced(processes: SchemaProcesses) -> None:
    assert await processes.check(ordinary(), "a") == [None]
    (pid,) = pids(processes)
    os.kill(pid, signal.SIGKILL)
    assert await processes.check(ordinary(), "a") == [None]
    assert pids(processes) != [pid]


async def test_who_gives_up_waiting_takes_no_place(processes: SchemaProcesses) -> None:
    first = asyncio.create_task(processes.check(bomb(), "a"))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(processes.check(ordinary(), "a")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    first.cancel()
    assert await asyncio.gather(*waiting[1:]) == [[None], [None]]
    assert processes._running.total() == 0
    assert processes._waiting == {}
