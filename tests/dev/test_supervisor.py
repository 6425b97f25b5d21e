"""The supervisor of `make dev`: what it says of parts that start, end early, and are started again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from dev.services import Service, serving, standby, worker
from dev.supervisor import Part, StartFailed, Supervisor
from tests.support.stack import until

RUNS = "import time; time.sleep(600)"
ENDS = "import sys; print('one line'); sys.exit('tools[0]: there is no module my_tools')"


def part(name: str, code: str, *, is_ready: bool = True) -> Part:
    async def ready() -> bool:
        return is_ready

    return Part(lambda: Service(name, (sys.executable, "-S", "-c", code), ready))


@asynccontextmanager
async def supervised(data: Path, *stages: list[Part]) -> AsyncIterator[tuple[Supervisor, list[str]]]:
    lines: list[str] = []
    supervisor = Supervisor(stages, data, lines.append)
    try:
        yield supervisor, lines
    finally:
        await supervisor.stop()


async def test_a_part_that_ends_early_is_named_at_once_with_its_own_log(tmp_path: Path) -> None:
    """Although another part of its stage, which needs it, would be waited for much longer."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker-0.log").write_text("of an earlier start\n")
    stage = [part("api", RUNS, is_ready=False), part("worker-0", ENDS, is_ready=False)]
    async with supervised(tmp_path, stage) as (supervisor, _):
        with pytest.raises(StartFailed) as raised:
            await asyncio.wait_for(supervisor.start(), 50)
    text = str(raised.value)
    assert text.startswith("worker-0 ended before it was ready (exit code 1)")
    assert "there is no module my_tools" in text
    assert "of an earlier start" not in text
    assert str(tmp_path / "logs" / "worker-0.log") in text


async def test_a_server_that_ends_while_later_parts_start_is_named(tmp_path: Path) -> None:
    servers = [part("valkey", "import time; time.sleep(0.3); raise SystemExit('no memory')")]
    async with supervised(tmp_path, servers, [part("api", RUNS, is_ready=False)]) as (supervisor, _):
        with pytest.raises(StartFailed, match=r"(?s)valkey ended .*no memory"):
            await asyncio.wait_for(supervisor.start(), 50)


async def test_a_part_that_is_started_again_is_said_to_be_ready_again(tmp_path: Path) -> None:
    async with supervised(tmp_path, [part("api", RUNS)]) as (supervisor, lines):
        await supervisor.start()
        assert lines[-1].startswith("api        ready in ")
        stopping = asyncio.Event()
        watching = asyncio.create_task(supervisor.watch(stopping))
        os.kill(int((tmp_path / "pids" / "api.pid").read_text()), signal.SIGKILL)

        async def is_said() -> bool:
            return lines[-1].startswith("api        ready again after ")

        await until(is_said)
        assert any(line.startswith("api        died (signal 9)") for line in lines)
        stopping.set()
        await watching


async def test_a_worker_is_ready_by_its_own_file(tmp_path: Path) -> None:
    file = tmp_path / "ready"
    one, spare = worker(0, "w", {}, ready_file=file), standby("s", {}, ready_file=file)
    assert not await one.ready()
    assert not await spare.ready()
    file.write_text("standby")
    assert not await one.ready()
    assert await spare.ready()
    assert not await serving(spare).ready()
    file.write_text("serving")
    assert await one.ready()
    assert await serving(spare).ready()
