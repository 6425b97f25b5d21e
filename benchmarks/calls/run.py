"""`python -m benchmarks calls`: the Python functions that run for one delta, in a worker and in an API process.

Both run here, on their real code, without servers: the provider's bytes come over a socket of this process, and Redis
and the clients are connections in memory. The counts are the same in each run, whatever else the machine does: compare
them before and after a change. `FUNCTIONS=1` prints each function.

- *busy*: streams side by side have a delta each, and their events share a pipeline, or a read of the API.
- *alone*: one stream, one delta at a time.
- *together*: a stream has several deltas in one read.

The CPU is that of these loops, in which everything is in the processor's caches, as it is not in a server. It serves to
compare two versions in turns.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks.calls.api_side import api
from benchmarks.calls.counter import Counted
from benchmarks.calls.worker_side import worker
from benchmarks.load.wire import chat_answer, responses_answer

_STREAMS, _ROUNDS, _TOGETHER = 10, 20, 8
_TIMED_ROUNDS, _TIMES = 100, 5
_WARM_UP = 5
_TOKENS = (_WARM_UP + _ROUNDS + _TIMED_ROUNDS * _TIMES) * _TOGETHER


@dataclass(frozen=True, slots=True)
class _Way:
    """`deltas` of each of `streams` in one round."""

    name: str
    streams: int
    deltas: int


_WAYS = (_Way("busy", _STREAMS, 1), _Way("alone", 1, 1), _Way("together", 1, _TOGETHER))


async def main() -> None:
    """Without servers."""
    await _part("worker, adapter openai-chat", lambda streams: worker("openai-chat", chat_answer(_TOKENS), streams))
    await _part("worker, adapter openai", lambda streams: worker("openai", responses_answer(_TOKENS), streams))
    await _part("API", api)


async def _part(title: str, begun: Callable[[int], AbstractAsyncContextManager[Any]]) -> None:
    counted: dict[str, Counted] = {}
    micros: dict[str, float] = {}
    for way in _WAYS:
        async with begun(way.streams) as live:
            for _ in range(_WARM_UP):
                await live.round(way.deltas)
            counted[way.name] = await live.counted(_ROUNDS, way.deltas)
            gc.collect()
            gc.disable()
            best = min([await live.seconds(_TIMED_ROUNDS, way.deltas) for _ in range(_TIMES)])
            gc.enable()
            micros[way.name] = best * 1e6 / (_TIMED_ROUNDS * way.streams * way.deltas)
    _print(title, counted, micros)


def _print(title: str, counted: dict[str, Counted], micros: dict[str, float]) -> None:
    per = {way.name: _ROUNDS * way.streams * way.deltas for way in _WAYS}
    print(f"\n{title}: calls per delta\n")
    print(f"| {'':56} |" + "".join(f" {name:>8} |" for name in counted))
    print(f"|{'-' * 58}|" + "".join("---------:|" for _ in counted))
    rows = {name: _rows(found) for name, found in counted.items()}
    for label in sorted(rows["busy"] | rows["alone"], key=lambda one: -rows["busy"][one]):
        _row(label, {name: found[label] / per[name] for name, found in rows.items()})
    _row("all", {name: found.total() / per[name] for name, found in rows.items()})
    _row("functions that are not Python", {name: found.c_calls / per[name] for name, found in counted.items()})
    _row("CPU in this loop, us", micros)


def _rows(counted: Counted) -> Counter[str]:
    if os.environ.get("FUNCTIONS"):
        return Counter({f"{file} {function}": calls for (file, function), calls in counted.calls.items()})
    return counted.by_file()


def _row(label: str, values: dict[str, float]) -> None:
    print(f"| {label:56} |" + "".join(f" {value:8.2f} |" for value in values.values()))


if __name__ == "__main__":
    uvloop.run(main())
