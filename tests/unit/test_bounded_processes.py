"""Processes for work with bounds: what ends one, what it gets, and how often a request is tried."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from open_responses.io.bounded_processes import BoundedProcesses, LimitExceeded, ProcessDied
from tests.support.stack import until

# The frames of `open_responses/io/child_processes.py`. `answer(request)` is the code of the test.
_LOOP = """
import os, struct, sys, time
def frames():
    while head := sys.stdin.buffer.read(4):
        yield sys.stdin.buffer.read(struct.unpack(">I", head)[0])
for request in frames():
    found = answer(request)
    sys.stdout.buffer.write(struct.pack(">I", len(found)) + found)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    def written(code: str) -> Path:
        path = tmp_path / "program.py"
        path.write_text(f"{code}\n{_LOOP}")
        return path

    return written


@asynccontextmanager
async def processes(path: Path, *, wall_seconds: float = 25, attempts: int = 2) -> AsyncIterator[BoundedProcesses]:
    pool = BoundedProcesses(path, wall_seconds=wall_seconds, attempts=attempts)
    try:
        yield pool
    finally:
        await pool.close()


async def test_a_process_gets_no_variable_of_the_servers_but_its_paths(
    program: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a secret")
    async with processes(program("answer = lambda request: ' '.join(os.environ).encode()")) as pool:
        names = (await pool.ask([b""], "acme")).decode().split()
    assert "PATH" in names
    assert "OPENAI_API_KEY" not in names


async def test_a_request_that_ends_its_processes_is_given_up(program: Callable[[str], Path], tmp_path: Path) -> None:
    ends = tmp_path / "ends"
    code = f"def answer(request):\n    open({str(ends)!r}, 'a').write('x')\n    sys.exit(1)"
    async with processes(program(code), attempts=3) as pool:
        with pytest.raises(ProcessDied, match=r"program\.py died 3 times"):
            await pool.ask([b"x"], "acme")
    assert ends.read_text() == "xxx"


async def test_a_process_that_ended_itself_while_idle_costs_no_attempt(program: Callable[[str], Path]) -> None:
    path = program("answer = lambda request: request")
    path.write_text(path.read_text() + "    sys.exit(0)\n")
    async with processes(path, attempts=1) as pool:
        assert await pool.ask([b"one"], "acme") == b"one"

        async def has_ended() -> bool:
            return all(process.returncode is not None for process in pool._idle)

        await until(has_ended)
        assert await pool.ask([b"two"], "acme") == b"two"


async def test_a_request_without_an_answer_ends_by_the_clock(program: Callable[[str], Path]) -> None:
    async with processes(program("answer = lambda request: time.sleep(60)"), wall_seconds=0.2) as pool:
        with pytest.raises(LimitExceeded) as exceeded:
            await pool.ask([b""], "acme")
    assert exceeded.value.limit == "wall time"


async def test_without_a_program_to_start_the_error_reaches_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "none"))
    async with processes(tmp_path / "program.py") as pool:
        with pytest.raises(FileNotFoundError):
            await pool.ask([b""], "acme")
        assert not pool._running, "its place is free again"
