"""`python -m benchmarks memory`: how long a worker takes to its first poll, and the memory of a worker and an API.

STARTS workers are started one after the other, each with a Temporal and a Redis that answer. Then RESPONSES responses
of WORDS deltas run through one worker and one API, AT_ONCE at a time. Printed: the memory of both as they start and
after the load, and its growth for each 1,000 responses of the second half: the first half fills caches of bounded size.
"""

from __future__ import annotations

import asyncio
import os
import statistics
from collections.abc import Iterable, Iterator, Sequence

import httpx

from benchmarks.processes import Memory, memory
from benchmarks.stack import ms, prompt, running
from benchmarks.streams import THROUGH, stream
from benchmarks.worker_start import cost_of_first_poll
from tests.support.stack import Stack

_WORKER = "worker-0"
_MEASURED = (_WORKER, "api")


async def main() -> None:
    """On real parts of its own."""
    starts, responses = _number("STARTS", 7), _number("RESPONSES", 2000)
    async with running(workers=(_WORKER,)) as (stack, _):
        if starts:
            _report_starts([await cost_of_first_poll(stack) for _ in range(starts)])
        if responses:
            await _load(stack, responses)


def _report_starts(begun: Sequence[tuple[float, float]]) -> None:
    print(f"\na worker from its start to its first poll, {len(begun)} starts")
    for name, spent in (("time", [wall for wall, _ in begun]), ("CPU", [cpu for _, cpu in begun])):
        print(f"  {name:<5} median {ms(statistics.median(spent))}, least {ms(min(spent))}")


async def _load(stack: Stack, responses: int) -> None:
    words, at_once = _number("WORDS", 50), _number("AT_ONCE", 16)
    body, url = {"input": prompt(words)}, stack.api_url + THROUGH
    limits = httpx.Limits(max_connections=2 * at_once)
    async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:

        async def some(left: Iterator[int]) -> None:
            for _ in left:
                await stream(client, url, body)

        async def run(count: int) -> dict[str, Memory]:
            left = iter(range(count))
            await asyncio.gather(*(some(left) for _ in range(at_once)))
            return _memory(stack)

        idle = _memory(stack)
        half = await run(responses // 2)
        full = await run(responses - responses // 2)
    print(f"\nmemory of one worker and one API, and after {responses} responses of {words} deltas, {at_once} at once")
    for name in _MEASURED:
        grown = (full[name].resident - half[name].resident) / (responses - responses // 2) * 1000
        print(f"  {name:<9} {_shown([idle[name]])}, then {_shown([full[name]])}; {grown:+.1f} MiB per 1,000 responses")
    print(f"  both      {_shown(idle.values())}, then {_shown(full.values())}")


def _memory(stack: Stack) -> dict[str, Memory]:
    return {name: memory(stack.processes[name].pid) for name in _MEASURED}


def _shown(parts: Iterable[Memory]) -> str:
    parts = list(parts)
    resident, proportional = sum(one.resident for one in parts), sum(one.proportional for one in parts)
    return f"{resident:.0f} MiB ({proportional:.0f} with shared pages divided)"


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))
