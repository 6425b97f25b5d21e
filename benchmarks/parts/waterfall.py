"""`python -m benchmarks waterfall`: the steps of one response, in milliseconds from the request, up to its end.

RESPONSES streams (30 by default) follow one another. Each process of ours is started by `benchmarks/parts/timed.py`,
which notes when its steps begin and end. A row is the median of a step's beginning, and of its length; a step that is
taken several times in a response has a row for each. Steps that fewer than half of the responses have are left out:
they belong to the processes' own work beside the responses.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import httpx

from benchmarks.stack import WORKERS, prompt, running
from benchmarks.streams import THROUGH
from dev.services import Service
from tests.support.stack import Stack

_WORDS, _GAP, _DELAY = 3, 0.01, 0.02
_PAUSE_SECONDS = 0.15
_DELTA = "output_text.delta"
_NANOSECONDS = 1e6


class Step(NamedTuple):
    """One call in one process, in nanoseconds of the machine's monotonic clock."""

    process: str
    name: str
    begin: int
    end: int


async def main() -> None:
    """On real parts of its own."""
    count = int(os.environ.get("RESPONSES", "30"))
    async with running(launched=_timed) as (stack, _):
        client = httpx.AsyncClient(timeout=60, trust_env=False)
        async with client:
            for _ in range(5):
                await _one(client, stack)
            responses = [await _one(client, stack) for _ in range(count)]
        steps = [step for name in ("api", *WORKERS) for step in _read(name, _file(stack.data, name))]
    _report(responses, steps)


def _file(data: Path, name: str) -> Path:
    return data / f"{name}.times"


def _timed(service: Service, data: Path) -> Service:
    """The same process, with its times."""
    process, arguments = ("worker", ()) if service.name.startswith("worker-") else ("api", service.command[3:])
    command = (sys.executable, "-m", "benchmarks.parts.timed", str(_file(data, service.name)), process, *arguments)
    return replace(service, command=command)


async def _one(client: httpx.AsyncClient, stack: Stack) -> list[Step]:
    """The steps of the client: its first event, its first delta, the end."""
    await asyncio.sleep(_PAUSE_SECONDS)
    body = {"model": "fake", "stream": True, "input": prompt(_WORDS, _GAP, _DELAY)}
    began, marks = time.monotonic_ns(), dict[str, int]()
    async with client.stream("POST", stack.api_url + THROUGH, json=body) as response:
        async for line in response.aiter_lines():
            now = time.monotonic_ns()
            marks.setdefault("first event" if line.startswith("event: ") else "", now)
            if line.startswith("data: ") and _DELTA in line:
                marks.setdefault("FIRST DELTA", now)
    marks["END"] = time.monotonic_ns()
    steps = [Step("client", "REQUEST", began, began)]
    return [*steps, *(Step("client", name, at, at) for name, at in marks.items() if name)]


def _read(process: str, file: Path) -> Iterable[Step]:
    shown = "worker" if process.startswith("worker-") else process
    for line in file.read_text(encoding="utf-8").splitlines():
        name, begin, end = json.loads(line)
        yield Step(shown, name, begin, end)


def _report(responses: list[list[Step]], steps: list[Step]) -> None:
    rows: Mapping[tuple[str, str, int], list[tuple[float, float]]] = defaultdict(list)
    for response in responses:
        # The workflow's last task goes on for some moments after the client has read the end.
        first, last = response[0].begin, response[-1].end + int(_PAUSE_SECONDS * 1e9 / 2)
        own = [step for step in steps if first <= step.begin <= last]
        seen: Counter[tuple[str, str]] = Counter()
        for step in sorted([*response, *own], key=lambda step: step.begin):
            place = (step.process, step.name)
            rows[*place, seen[place]].append(
                ((step.begin - first) / _NANOSECONDS, (step.end - step.begin) / _NANOSECONDS)
            )
            seen[place] += 1
    shown = [
        (statistics.median(begin for begin, _ in found), statistics.median(length for _, length in found), *where)
        for where, found in rows.items()
        if 2 * len(found) >= len(responses)
    ]
    print(
        f"\none response, medians of {len(responses)}; the provider waits {_DELAY * 1000:.0f} ms before its first delta"
    )
    print("  begins at   takes    ")
    for begin, length, process, name, number in sorted(shown):
        again = f" ({number + 1})" if number else ""
        print(f"  {begin:7.1f} ms {length:6.1f} ms  {process:<7} {name}{again}")
