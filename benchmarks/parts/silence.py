"""How long a client's stream is silent when every worker is killed at once: under `make dev`'s supervisor, with and
without a process that stands by, on the same machine one after the other. `python -m benchmarks silence`."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx

from benchmarks.stack import CONFIG, ms, prompt
from benchmarks.streams import THROUGH, stream
from dev import services

_RUNS = 5
_WORDS, _GAP = 200, 0.02
_START_SECONDS = 120.0
_PORTS = ("API", "TEMPORAL", "TEMPORAL_UI", "VALKEY", "WORKER_METRICS")


async def main() -> None:
    print(
        f"\nkill -9 of every worker in mid-answer, seen by the supervisor: silence in the client's stream, {_RUNS} runs"
    )
    for name, standby in (("no standby", "0"), ("a standby", "1")):
        silences = await _measure(standby)
        each = ", ".join(f"{seconds:.2f}" for seconds in silences)
        print(f"  {name:<10} median {ms(statistics.median(silences))}   ({each} s)")


async def _measure(standby: str) -> list[float]:
    silences = []
    async with _dev(standby) as (api, data), httpx.AsyncClient(timeout=120, trust_env=False) as client:
        await stream(client, api + THROUGH, {"input": prompt(5)})
        for run in range(1, _RUNS + 1):
            if standby == "1":
                await _until(partial(_has_stood_by, data, run))
            asking = asyncio.create_task(stream(client, api + THROUGH, {"input": prompt(_WORDS, _GAP)}))
            await asyncio.sleep(1.0)
            for file in (data / "pids").glob("worker-*.pid"):
                os.kill(int(file.read_text()), signal.SIGKILL)
            silences.append(max((await asking).gaps))
    return silences


@asynccontextmanager
async def _dev(standby: str) -> AsyncIterator[tuple[str, Path]]:
    """`make dev` on free ports, with the benchmarks' upstream. Yields the API's address and the data folder."""
    with tempfile.TemporaryDirectory() as folder:
        data, upstream = Path(folder), services.free_port()
        (data / "config.toml").write_text(CONFIG.format(port=upstream))
        ports = {f"OPEN_RESPONSES_{name}_PORT": str(services.free_port()) for name in _PORTS}
        env = {
            **os.environ,
            **ports,
            "OPEN_RESPONSES_DATA_DIR": folder,
            "OPEN_RESPONSES_CONFIG": str(data / "config.toml"),
            "OPEN_RESPONSES_STANDBY": standby,
        }
        output = data / "output"
        with output.open("wb") as log:
            fake = subprocess.Popen((sys.executable, "-m", "benchmarks.upstream", str(upstream)))  # noqa: ASYNC220
            dev = subprocess.Popen((sys.executable, "-m", "dev"), env=env, stdout=log, stderr=log)  # noqa: ASYNC220
        try:
            await _until(lambda: "Ctrl-C stops everything" in output.read_text() or dev.poll() is not None)
            if dev.poll() is not None:
                sys.exit(output.read_text())
            yield f"http://127.0.0.1:{ports['OPEN_RESPONSES_API_PORT']}", data
        finally:
            await services.stop(dev, 60)
            await services.stop(fake)


def _has_stood_by(data: Path, times: int) -> bool:
    """Whether so many processes have come as far as standing by."""
    log = data / "logs" / "standby.log"
    return log.exists() and log.read_text().count("worker_stands_by") >= times


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
