"""A worker process that an unexpected error ends: it says so, exits with an error, and others go on with its work."""

from __future__ import annotations

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import orjson
import pytest

from dev import services
from dev.supervisor import new_worker_id
from tests.support.fake_upstream import Script, Upstream
from tests.support.faulty_worker import MESSAGE
from tests.support.stack import Stack, check_whole, collect

pytestmark = pytest.mark.campaign

NAME = "faulty-worker"


@pytest.mark.parametrize("fault", ["activity poller", "workflow poller", "appender", "leaving"])
async def test_a_worker_that_an_unexpected_error_ends_says_so_and_its_work_goes_on_elsewhere(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, tmp_path: Path, fault: str
) -> None:
    trigger, prompt = tmp_path / "now", f"an unexpected error: {fault}"
    await asyncio.gather(stack.kill_seen("worker-0"), stack.kill_seen("worker-1"))
    service = services.worker(7, new_worker_id(7), stack.env)
    command = (sys.executable, "-m", "tests.support.faulty_worker", fault, str(trigger))
    process = replace(service, name=NAME, command=command).start(tmp_path)
    script = upstream.says(prompt, Script(words=20, hold_after=5))
    reading = asyncio.create_task(collect(client, {"model": "fake", "input": prompt}))
    try:
        await asyncio.wait_for(script.held.wait(), 50)
        await stack.start("worker-0")
        trigger.touch()
        if fault == "leaving":
            process.send_signal(signal.SIGTERM)
        if fault == "appender":
            script.released.set()
        code = await asyncio.to_thread(process.wait, 40)
        script.released.set()
        events = await asyncio.wait_for(reading, 50)
    finally:
        reading.cancel()
        process.kill()
        process.wait()
    check_whole(events, script.text)
    assert code not in (0, None)
    log = (tmp_path / f"{NAME}.log").read_text()
    assert MESSAGE not in log, log
    lines = [orjson.loads(line) for line in log.splitlines() if line.startswith("{")]
    failed = [line for line in lines if line["event"] in ("worker_failed", "chore_died")]
    assert [line["level"] for line in failed] == ["error"], log
    assert "ValueError" in str(failed[0]["exception"]), log
