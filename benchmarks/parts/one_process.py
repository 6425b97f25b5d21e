"""`python -m benchmarks one-process`: `open_responses serve` beside an API and a worker of their own, in turns.

Both on the same Temporal, Valkey and provider, ROUNDS times each. Printed: the median time to the first delta of one
stream and of 16 at once, short streams a second, and the memory after them.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import defaultdict

import httpx

from benchmarks.processes import memory
from benchmarks.stack import prompt, running
from benchmarks.streams import THROUGH, stream
from dev import services
from dev.supervisor import new_worker_id
from tests.support.stack import Stack

_SEPARATE, _ONE = ("worker-0", "api"), ("serve",)
_SINGLE, _AT_ONCE, _TIMES, _SHORT = 30, 16, 3, 150
_BODY = {"input": prompt(20)}


async def main() -> None:
    """On real parts of its own."""
    rounds = int(os.environ.get("ROUNDS", "2"))
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    async with running(workers=(_SEPARATE[0],)) as (stack, _):
        await _stop(stack, _SEPARATE)
        port = services.free_port()
        one_url = f"http://127.0.0.1:{port}"
        for _ in range(rounds):
            for name in _SEPARATE:
                await stack.start(name)
            await _measure(stack, _SEPARATE, stack.api_url, found["separate"])
            stack.services["serve"] = services.serve(port, new_worker_id(8), stack.env)
            await stack.start("serve")
            await _measure(stack, _ONE, one_url, found["one process"])
    print(f"\none process and two, {rounds} rounds each")
    for form, figures in found.items():
        shown = ", ".join(f"{name} {statistics.median(values):.1f}" for name, values in figures.items())
        print(f"  {form:<12} {shown}")


async def _measure(stack: Stack, names: tuple[str, ...], url: str, into: dict[str, list[float]]) -> None:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:

        async def first() -> float:
            return (await stream(client, url + THROUGH, _BODY)).first * 1000

        await asyncio.gather(*(first() for _ in range(_AT_ONCE)))
        into["first delta, 1 stream (ms)"] += [await first() for _ in range(_SINGLE)]
        for _ in range(_TIMES):
            into[f"{_AT_ONCE} at once (ms)"] += await asyncio.gather(*(first() for _ in range(_AT_ONCE)))
        began = time.perf_counter()
        left = iter(range(_SHORT))

        async def some() -> None:
            for _ in left:
                await first()

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
        into["streams a second"].append(_SHORT / (time.perf_counter() - began))
    into["memory (MiB)"].append(sum(memory(stack.processes[name].pid).resident for name in names))
    await _stop(stack, names)


async def _stop(stack: Stack, names: tuple[str, ...]) -> None:
    for name in names:
        await services.stop(stack.processes.pop(name), 30)
