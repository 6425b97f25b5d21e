"""How long a scrape of `/metrics` takes beside streams, against one of the same processes at rest.

The scrapes are made by a process of their own, since the one that reads the streams is busy itself. `python -m
benchmarks scrape`.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx

from benchmarks.stack import WORKERS, ms, prompt, running
from benchmarks.streams import THROUGH, stream
from dev import services

_MODELS, _STREAMS, _SCRAPES = 60, 64, 60
_WORDS, _GAP = 40, 0.02
_PAUSE_SECONDS = 0.1
_ROUTE = '[[routes]]\nmodel = "m{}"\nprovider = "fake"\nupstream_model = "fake"\n'


async def main() -> None:
    async with running(tail="".join(map(_ROUTE.format, range(_MODELS)))) as (stack, _):
        # The port of the second worker as well: each is started again with one.
        stack.metrics_ports = {name: services.free_port() for name in WORKERS}
        for name in WORKERS:
            await stack.kill(name)
            await stack.start(name)
        urls = [stack.api_url, *(f"http://127.0.0.1:{port}" for port in stack.metrics_ports.values())]
        limits = httpx.Limits(max_connections=1000)
        async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:
            for _ in range(2):
                # Both workers get series of most models.
                await asyncio.gather(*(_one(client, stack.api_url, f"m{number}", 3) for number in range(_MODELS)))
            rest = await _scraped(urls)
            stopping = asyncio.Event()
            load = [asyncio.create_task(_busy(client, stack.api_url, number, stopping)) for number in range(_STREAMS)]
            await asyncio.sleep(2)
            beside = await _scraped(urls)
            stopping.set()
            await asyncio.gather(*load)
    print(f"\na scrape of /metrics, {_SCRAPES} each, at rest and beside {_STREAMS} streams of {1 / _GAP:.0f} deltas/s")
    for name, (size, idle), (_, busy) in zip(("api", *WORKERS), rest, beside, strict=True):
        print(f"  {name:<9} {size} series   at rest {_shown(idle)}   beside streams {_shown(busy)}", end="")
        print(f"   {statistics.median(busy) / statistics.median(idle):.1f} x")


async def _one(client: httpx.AsyncClient, url: str, model: str, words: int) -> None:
    await stream(client, url + THROUGH, {"model": model, "input": prompt(words, _GAP)})


async def _busy(client: httpx.AsyncClient, url: str, number: int, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        await _one(client, url, f"m{number % _MODELS}", _WORDS)


async def _scraped(urls: Sequence[str]) -> list[tuple[int, list[float]]]:
    """Of each address the number of series, and the seconds of each scrape."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.parts.scrape", *urls), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return [(size, seconds) for size, seconds in json.loads(out)]


def _scrape(urls: Sequence[str]) -> list[tuple[int, list[float]]]:
    sizes, seconds = [0] * len(urls), [list[float]() for _ in urls]
    for _ in range(_SCRAPES):
        for index, url in enumerate(urls):
            began = time.perf_counter()
            connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read()
            connection.close()
            seconds[index].append(time.perf_counter() - began)
            sizes[index] = sum(not line.startswith(b"#") for line in text.splitlines())
            time.sleep(_PAUSE_SECONDS)
    return list(zip(sizes, seconds, strict=True))


def _shown(seconds: Sequence[float]) -> str:
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    return f"p50 {ms(statistics.median(seconds))}, p95 {ms(p95)}"


if __name__ == "__main__":
    print(json.dumps(_scrape(sys.argv[1:])))
