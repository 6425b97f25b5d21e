"""`python -m benchmarks`: the table of `make bench`, open_responses beside LiteLLM's proxy and a direct client. With a
name, one part alone. benchmarks/README.md explains each.

All servers are real and run as child processes; the upstream has a known timing. Two noisy cores: read the differences
and ratios, not the absolute times.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence

import httpx
import uvloop

from benchmarks import run_history, scaling
from benchmarks.calls import run as calls
from benchmarks.floor import run as floor
from benchmarks.parts import (
    chain,
    fairness,
    files,
    history,
    loop,
    memory,
    one_process,
    pace,
    recovery,
    scrape,
    silence,
    turns,
    waterfall,
)
from benchmarks.stack import prompt, running
from benchmarks.streams import THROUGH, stream
from benchmarks.table import command as table
from tests.support.stack import Stack

_TOOLS = """
[[tools]]
name = "wait"
target = "benchmarks.parts.tools:wait"
"""
_WARM_UP_STREAMS = 4

_ON_ONE_STACK: Mapping[str, Callable[[httpx.AsyncClient, Stack, str], Awaitable[None]]] = {
    "history": history.measure,
    "loop": loop.measure,
    "turns": turns.measure,
    "chain": chain.measure,
    "recovery": recovery.measure,
}
_APART: Mapping[str, Callable[[], Awaitable[None]]] = {
    "fairness": fairness.main,
    "files": files.main,
    "silence": silence.main,
    "pace": pace.main,
    "scaling": scaling.main,
    "scrape": scrape.main,
    "waterfall": waterfall.main,
    "memory": memory.main,
    "one-process": one_process.main,
    "floor": floor.main,
    "calls": calls.main,
}
"""These bring servers of their own."""
_TABLE, _COMPARE, _ALL = "table", "compare", "all"
_NAMES = (_TABLE, _COMPARE, *_ON_ONE_STACK, *_APART, _ALL)


async def run_parts(names: Sequence[str]) -> None:
    """The parts of these names, in their own order."""
    parts = [part for name, part in _ON_ONE_STACK.items() if name in names]
    if parts:
        async with running(head="max_turns = 1000\n", tail=_TOOLS) as (stack, upstream):
            limits = httpx.Limits(max_connections=1000)
            async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:
                asked = {"input": prompt(40, 0.02, 0.05)}
                warm = (stream(client, stack.api_url + THROUGH, asked) for _ in range(_WARM_UP_STREAMS))
                await asyncio.gather(*warm)
                for part in parts:
                    await part(client, stack, upstream)
    for name, part_apart in _APART.items():
        if name in names:
            await part_apart()


def main() -> int:
    given = _arguments()
    names = given.parts or [_TABLE]
    if _COMPARE in names:
        return 1 if run_history.compare("quick" if given.quick else "full") else 0
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if _TABLE in names:
            rows, arms = _words(given.rows), _words(given.arms)
            runner.run(table.main(is_quick=given.quick, parts=rows, arms=arms, is_recorded=given.record))
        runner.run(run_parts([*_ON_ONE_STACK, *_APART] if _ALL in names else names))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{_TABLE} by default; {', '.join(_NAMES)}")
    parser.add_argument("--quick", action="store_true", help="the table with smaller numbers, in two minutes")
    parser.add_argument("--rows", default="", help="only these rows of the table: first,short,cpu,pace,burst,start")
    parser.add_argument("--arms", default="", help="only these arms: direct,litellm,litellm-chat,ours,ours-native")
    parser.add_argument("--record", action="store_true", help="add a line to benchmarks/history.jsonl")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(_NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(_NAMES)}")
    return given


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


if __name__ == "__main__":
    sys.exit(main())
