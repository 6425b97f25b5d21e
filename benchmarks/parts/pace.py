"""`python -m benchmarks pace`: what a live stream costs each process, and whether many streams keep their pace.

STREAMS streams begin within two seconds, and each brings TOKENS deltas at RATE a second. Printed: the CPU time of each
process per 1,000 deltas, the median length of a stream as a multiple of its pace, and the time to the first delta.
`PROFILE=worker-0` samples one process meanwhile (`benchmarks/profiler.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.load.client import Client, Stream, Target
from benchmarks.load.order import Order
from benchmarks.profiler import profiled
from benchmarks.stack import OURS, cpu, ms, running
from benchmarks.streams import THROUGH
from tests.support.stack import Stack

_BEGIN_SECONDS = 2.0
# What ends behind a terminal event counts as well.
_END_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Load:
    """`streams` at once, each of `tokens` deltas, `rate` of them a second."""

    streams: int
    tokens: int
    rate: float

    @property
    def order(self) -> Order:
        return Order(self.tokens, 1 / self.rate)


async def main() -> None:
    """On real parts of its own."""
    load = Load(_number("STREAMS", 80), _number("TOKENS", 200), float(_number("RATE", 20)))
    async with running(upstream_module="benchmarks.load.upstream") as (stack, _):
        client = Client()
        await _streams(client, stack, Load(4, 10, 20.0))
        with profiled(stack.processes):
            before, own_before = cpu(stack), _own_cpu()
            streams = await _streams(client, stack, load)
            await asyncio.sleep(_END_SECONDS)
            spent = {name: after - before[name] for name, after in cpu(stack).items()}
            spent["client"] = _own_cpu() - own_before
        client.close()
    _report(load, streams, spent)


async def _streams(client: Client, stack: Stack, load: Load) -> list[Stream]:
    target = Target(urlsplit(stack.api_url).port or 0, THROUGH)
    body = json.dumps({"model": "fake", "stream": True, "input": load.order.prompt}).encode()

    async def one(number: int) -> Stream:
        await asyncio.sleep(_BEGIN_SECONDS * number / load.streams)
        return await client.stream(target, body)

    return await asyncio.gather(*(one(number) for number in range(load.streams)))


def _report(load: Load, streams: list[Stream], spent: dict[str, float]) -> None:
    deltas = load.streams * load.tokens
    arrived = 0
    for stream in streams:
        pieces = stream.pieces()
        assert "".join(pieces) == load.order.text, "a stream brought another text than the provider's"
        arrived += len(pieces)
    workers = sum(seconds for name, seconds in spent.items() if name.startswith("worker-"))
    own = sum(spent[name] for name in OURS)
    print(f"\n{load.streams} streams of {load.tokens} deltas, {load.rate:.0f} a second each")
    for name, seconds in (("API", spent["api"]), ("workers", workers), ("both", own)):
        print(f"  CPU, {name:<8} {seconds / deltas * 1e6:.0f} ms per 1,000 deltas")
    for name in ("temporal", "valkey", "upstream", "client"):
        print(f"  CPU, {name:<8} {spent[name] / deltas * 1e6:.0f} ms per 1,000 deltas")
    length = statistics.median(stream.seconds for stream in streams)
    print(f"  median length {length / load.order.seconds:.2f} x the pace")
    print(f"  first delta   p50 {ms(statistics.median(stream.seconds_to_first for stream in streams))}")
    print(f"  events of deltas that arrived, per delta of the provider: {arrived / deltas:.2f}")


def _own_cpu() -> float:
    times = os.times()
    return times.user + times.system


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))
