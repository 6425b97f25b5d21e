"""`make bench`: what the server adds to a stream, against a direct client of the same fake upstream, interleaved.

Real Temporal, Valkey, worker and API as child processes; the upstream has a known timing. Two noisy cores: read the
differences and ratios, not the absolute times. `python -m benchmarks chain` is one part alone.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping

import httpx
from temporalio.client import Client

from benchmarks import chain, fairness, loop, pace, scrape, silence
from benchmarks.stack import OURS, cpu, ms, prompt, resident_mib, running
from benchmarks.streams import DIRECT, THROUGH, Sample, stream
from open_responses.io.temporal.codec import DATA_CONVERTER
from tests.support.stack import Stack

_WORDS, _GAP, _DELAY = 40, 0.02, 0.05
_TOOLS = """
[[tools]]
name = "wait"
target = "benchmarks.tools:wait"
"""


async def main(names: list[str]) -> None:
    """The parts of these names, in the order of `_PARTS`; all for none."""
    unknown = set(names) - {*_PARTS, *_APART}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join([*_PARTS, *_APART])}")
    parts = [part for name, part in _PARTS.items() if not names or name in names]
    if parts:
        async with running(head="max_turns = 1000\n", tail=_TOOLS) as (stack, upstream):
            limits = httpx.Limits(max_connections=1000)
            async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:
                await _many(client, stack.api_url + THROUGH, 4)
                for part in parts:
                    await part(client, stack, upstream)
    for name, part_apart in _APART.items():
        if not names or name in names:
            await part_apart()


def _body(url: str, asked: str) -> Mapping[str, object]:
    return {"input": asked} if url.endswith(THROUGH) else {"messages": [{"role": "user", "content": asked}]}


async def _many(client: httpx.AsyncClient, url: str, streams: int) -> list[Sample]:
    body = _body(url, prompt(_WORDS, _GAP, _DELAY))
    return await asyncio.gather(*(stream(client, url, body) for _ in range(streams)))


async def _streams(client: httpx.AsyncClient, stack: Stack, upstream: str) -> None:
    for streams in (1, 16, 64):
        await _compare(client, stack, upstream, streams)


async def _compare(client: httpx.AsyncClient, stack: Stack, upstream: str, streams: int) -> None:
    direct: list[Sample] = []
    through: list[Sample] = []
    before, began = cpu(stack), time.perf_counter()
    rounds = 8 if streams == 1 else 3
    for _ in range(rounds):
        direct += await _many(client, upstream + DIRECT, streams)
        through += await _many(client, stack.api_url + THROUGH, streams)
    spent = {name: after - before[name] for name, after in cpu(stack).items()}
    own = sum(spent[name] for name in OURS)
    responses = rounds * streams
    first_direct, first = [s.first for s in direct], [s.first for s in through]
    total_direct, total = [s.total for s in direct], [s.total for s in through]
    pace = statistics.fmean(g for s in through for g in s.gaps)
    pace_direct = statistics.fmean(g for s in direct for g in s.gaps)
    per_response = own / responses
    print(f"\n{streams} concurrent stream(s), {_WORDS} deltas of {1 / _GAP:.0f}/s, {responses} responses")
    print(f"  added to the first token   p50 {ms(_p(first, 50) - _p(first_direct, 50))}", end="")
    print(f"   p95 {ms(_p(first, 95) - _p(first_direct, 95))}")
    print(f"  added to the whole answer  p50 {ms(_p(total, 50) - _p(total_direct, 50))}")
    print(f"  time per delta             {pace / pace_direct:.2f} x direct")
    print(f"  CPU, API and workers       {ms(per_response)} per response", end="")
    print(f", {ms(per_response / _WORDS * 1000)} per 1,000 deltas")
    print(f"  CPU, Temporal              {ms(spent['temporal'] / responses)} per response")
    print(f"  CPU, Valkey                {ms(spent['valkey'] / responses)} per response")
    print(f"  memory, API and workers    {resident_mib(stack):.0f} MiB     ({time.perf_counter() - began:.0f} s)")


async def _short_answers(client: httpx.AsyncClient, stack: Stack, _: str) -> None:
    count, at_once = 200, asyncio.Semaphore(16)
    body = {"model": "fake", "input": prompt(5)}

    async def one() -> None:
        async with at_once:
            (await client.post(stack.api_url + "/v1/responses", json=body)).raise_for_status()

    before, began = cpu(stack), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    seconds = time.perf_counter() - began
    temporal = (cpu(stack)["temporal"] - before["temporal"]) / seconds
    print(
        f"\nshort JSON answers, 16 at once: {count / seconds:.0f} per second; Temporal takes {temporal:.0%} of a core"
    )


async def _history(client: httpx.AsyncClient, stack: Stack, _: str) -> None:
    answer = await client.post(stack.api_url + "/v1/responses", json={"model": "fake", "input": prompt(1000)})
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    info = (await temporal.get_workflow_handle(answer.json()["id"]).describe()).raw_description.workflow_execution_info
    print(f"history of a 1,000-token answer: {info.history_length} events, {info.history_size_bytes} bytes")


async def _recovery(client: httpx.AsyncClient, stack: Stack, _: str) -> None:
    for how in ("seen by a supervisor", "found by its lease"):
        pauses = []
        for _ in range(4):
            await stack.heal()
            asking = asyncio.create_task(stream(client, stack.api_url + THROUGH, {"input": prompt(150, 0.02)}))
            await asyncio.sleep(1.2)
            name = await stack.busy_worker()
            await (stack.kill_seen(name) if how.startswith("seen") else stack.kill(name))
            pauses.append(max((await asking).gaps))
        print(f"kill -9, {how}: pause of the client's stream, median {ms(statistics.median(pauses))} of {len(pauses)}")


def _p(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


_PARTS: Mapping[str, Callable[[httpx.AsyncClient, Stack, str], Awaitable[None]]] = {
    "streams": _streams,
    "short": _short_answers,
    "history": _history,
    "loop": loop.measure,
    "chain": chain.measure,
    "recovery": _recovery,
}
_APART = {"fairness": fairness.main, "silence": silence.main, "pace": pace.main, "scrape": scrape.main}
"""These bring servers of their own."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all by default: {', '.join([*_PARTS, *_APART])}")
    asyncio.run(main(parser.parse_args().parts))
