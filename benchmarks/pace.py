"""`python -m benchmarks pace`: what a live stream costs each process, and whether many streams keep their pace.

STREAMS streams begin within two seconds, and each brings TOKENS deltas at RATE a second. Printed: the CPU time of each
process per 1,000 deltas, the median length of a stream as a multiple of its pace, and the time to the first delta.
`PROFILE=worker-0 PROFILE_FILE=out.txt` samples one process meanwhile with py-spy, if it is on the PATH: one line for
each stack, with its samples.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass

import httpx

from benchmarks.stack import OURS, cpu, ms, prompt, running
from benchmarks.streams import THROUGH, Sample, stream
from tests.support.stack import Stack

_BEGIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Load:
    """`streams` at once, each of `tokens` deltas, `rate` of them a second."""

    streams: int
    tokens: int
    rate: float

    @property
    def seconds(self) -> float:
        """The length of one stream that keeps its pace."""
        return self.tokens / self.rate


async def main() -> None:
    """On real parts of its own."""
    load = Load(_number("STREAMS", 80), _number("TOKENS", 200), float(_number("RATE", 20)))
    async with running() as (stack, _):
        limits = httpx.Limits(max_connections=2 * load.streams)
        async with httpx.AsyncClient(timeout=600, limits=limits, trust_env=False) as client:
            await _streams(client, stack, Load(4, 10, 20.0))
            profile = _profiled(stack, load.seconds)
            before = cpu(stack)
            samples = await _streams(client, stack, load)
            spent = {name: after - before[name] for name, after in cpu(stack).items()}
            if profile is not None:
                profile.wait(60)
    _report(load, samples, spent)


async def _streams(client: httpx.AsyncClient, stack: Stack, load: Load) -> list[Sample]:
    body = {"input": prompt(load.tokens, 1 / load.rate)}

    async def one(number: int) -> Sample:
        await asyncio.sleep(_BEGIN_SECONDS * number / load.streams)
        return await stream(client, stack.api_url + THROUGH, body)

    return await asyncio.gather(*(one(number) for number in range(load.streams)))


def _report(load: Load, samples: list[Sample], spent: dict[str, float]) -> None:
    deltas = load.streams * load.tokens
    arrived = sum(1 + len(sample.gaps) for sample in samples)
    workers = sum(seconds for name, seconds in spent.items() if name.startswith("worker-"))
    own = sum(spent[name] for name in OURS)
    print(f"\n{load.streams} streams of {load.tokens} deltas, {load.rate:.0f} a second each")
    for name, seconds in (("API", spent["api"]), ("workers", workers), ("both", own)):
        print(f"  CPU, {name:<8} {seconds / deltas * 1e6:.0f} ms per 1,000 deltas")
    for name in ("temporal", "valkey"):
        print(f"  CPU, {name:<8} {spent[name] / deltas * 1e6:.0f} ms per 1,000 deltas")
    length = statistics.median(sample.total for sample in samples)
    print(f"  median length {length / load.seconds:.2f} x the pace")
    print(f"  first delta   p50 {ms(statistics.median(sample.first for sample in samples))}")
    print(f"  events of deltas that arrived, per delta of the provider: {arrived / deltas:.2f}")


def _profiled(stack: Stack, seconds: float) -> subprocess.Popen[bytes] | None:
    """Sample the process that PROFILE names. None if it names none."""
    name, sampler = os.environ.get("PROFILE"), shutil.which("py-spy")
    if name is None or sampler is None:
        return None
    file = os.environ.get("PROFILE_FILE", f"{name}.profile")
    options = ("--format", "raw", "--output", file, "--duration", str(max(1, int(seconds))), "--nonblocking")
    return subprocess.Popen([sampler, "record", *options, "--pid", str(stack.processes[name].pid)])


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


if __name__ == "__main__":
    began = time.perf_counter()
    asyncio.run(main())
    print(f"  ({time.perf_counter() - began:.0f} s)")
