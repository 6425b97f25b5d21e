"""`make bench`: what the server adds to a stream, against a direct client of the same fake upstream, interleaved.

Real Temporal, Valkey, worker and API as child processes; the upstream has a known timing. Two noisy cores: read the
differences and ratios, not the absolute times.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from benchmarks import fairness, loop
from dev import services
from open_responses.io.payload_codec import DATA_CONVERTER
from tests.stack import Stack

_WORDS, _GAP, _DELAY = 40, 0.02, 0.05
_CONFIG = """
[[providers]]
name = "fake"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{port}/v1"
[[routes]]
model = "fake"
provider = "fake"
[[tools]]
name = "wait"
target = "benchmarks.tools:wait"
"""


@dataclass
class Sample:
    """Seconds to the first delta, to each delta from the one before, and in all."""

    first: float = 0.0
    gaps: list[float] = field(default_factory=list)
    total: float = 0.0


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stack, upstream = await _start(Path(folder))
        try:
            limits = httpx.Limits(max_connections=1000)
            async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:
                await _many(client, stack.api_url, "/v1/responses", 4)
                for streams in (1, 16, 64):
                    await _compare(client, stack, upstream, streams)
                await _short_answers(client, stack)
                await _history(client, stack)
                await loop.measure(client, stack, upstream)
                await _recovery(client, stack)
        finally:
            await stack.stop()
    await fairness.main()


async def _start(data: Path) -> tuple[Stack, str]:
    port, valkey, temporal, api = (services.free_port() for _ in range(4))
    (data / "config.toml").write_text("max_turns = 1000\n" + _CONFIG.format(port=port))
    stack = Stack(data)
    stack.redis_url, stack.temporal_address = f"redis://127.0.0.1:{valkey}/0", f"127.0.0.1:{temporal}"
    stack.api_url = f"http://127.0.0.1:{api}"
    stack.env = {
        "TEMPORAL_ADDRESS": stack.temporal_address,
        "REDIS_URL": stack.redis_url,
        "OPEN_RESPONSES_CONFIG": str(data / "config.toml"),
    }
    command = (sys.executable, "-m", "benchmarks.upstream", str(port))
    stack.services = {
        "upstream": services.Service("upstream", command, lambda: services.port_answers(port)),
        "valkey": services.valkey(valkey, data),
        "temporal": services.temporal(temporal, data),
        "api": services.api(api, stack.env),
    }
    for name in ("upstream", "valkey", "temporal", "worker-0", "worker-1", "api"):
        await stack.start(name)
    return stack, f"http://127.0.0.1:{port}"


def _prompt(words: int = _WORDS, gap: float = _GAP, delay: float = _DELAY) -> str:
    return json.dumps({"words": words, "gap": gap, "delay": delay})


def _body(path: str, prompt: str) -> dict[str, object]:
    if path == "/v1/responses":
        return {"model": "fake", "input": prompt, "stream": True}
    return {"model": "fake", "messages": [{"role": "user", "content": prompt}], "stream": True}


async def _one(client: httpx.AsyncClient, base: str, path: str, prompt: str) -> Sample:
    sample, began = Sample(), time.perf_counter()
    last = began
    marker = b"output_text.delta" if path == "/v1/responses" else b'"content"'
    async with client.stream("POST", base + path, json=_body(path, prompt)) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and marker.decode() in line:
                now = time.perf_counter()
                if sample.first:
                    sample.gaps.append(now - last)
                else:
                    sample.first = now - began
                last = now
    sample.total = time.perf_counter() - began
    return sample


async def _many(client: httpx.AsyncClient, base: str, path: str, streams: int) -> list[Sample]:
    return await asyncio.gather(*(_one(client, base, path, _prompt()) for _ in range(streams)))


async def _compare(client: httpx.AsyncClient, stack: Stack, upstream: str, streams: int) -> None:
    direct: list[Sample] = []
    through: list[Sample] = []
    cpu, began = _cpu(stack), time.perf_counter()
    rounds = 8 if streams == 1 else 3
    for _ in range(rounds):
        direct += await _many(client, upstream, "/v1/chat/completions", streams)
        through += await _many(client, stack.api_url, "/v1/responses", streams)
    spent = {name: after - cpu[name] for name, after in _cpu(stack).items()}
    own = spent["api"] + spent["worker-0"] + spent["worker-1"]
    responses = rounds * streams
    first_direct, first = [s.first for s in direct], [s.first for s in through]
    total_direct, total = [s.total for s in direct], [s.total for s in through]
    pace = statistics.fmean(g for s in through for g in s.gaps)
    pace_direct = statistics.fmean(g for s in direct for g in s.gaps)
    per_response = own / responses
    print(f"\n{streams} concurrent stream(s), {_WORDS} deltas of {1 / _GAP:.0f}/s, {responses} responses")
    print(f"  added to the first token   p50 {_ms(_p(first, 50) - _p(first_direct, 50))}", end="")
    print(f"   p95 {_ms(_p(first, 95) - _p(first_direct, 95))}")
    print(f"  added to the whole answer  p50 {_ms(_p(total, 50) - _p(total_direct, 50))}")
    print(f"  time per delta             {pace / pace_direct:.2f} x direct")
    print(f"  CPU, API and workers       {_ms(per_response)} per response", end="")
    print(f", {_ms(per_response / _WORDS * 1000)} per 1,000 deltas")
    print(f"  CPU, Temporal              {_ms(spent['temporal'] / responses)} per response")
    print(f"  CPU, Valkey                {_ms(spent['valkey'] / responses)} per response")
    print(f"  memory, API and workers    {_rss(stack):.0f} MiB     ({time.perf_counter() - began:.0f} s)")


async def _short_answers(client: httpx.AsyncClient, stack: Stack) -> None:
    count, at_once = 200, asyncio.Semaphore(16)
    body = {"model": "fake", "input": _prompt(5, 0, 0)}

    async def one() -> None:
        async with at_once:
            (await client.post(stack.api_url + "/v1/responses", json=body)).raise_for_status()

    cpu, began = _cpu(stack), time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    seconds = time.perf_counter() - began
    temporal = (_cpu(stack)["temporal"] - cpu["temporal"]) / seconds
    print(
        f"\nshort JSON answers, 16 at once: {count / seconds:.0f} per second; Temporal takes {temporal:.0%} of a core"
    )


async def _history(client: httpx.AsyncClient, stack: Stack) -> None:
    from temporalio.client import Client

    answer = await client.post(stack.api_url + "/v1/responses", json={"model": "fake", "input": _prompt(1000, 0, 0)})
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    info = (await temporal.get_workflow_handle(answer.json()["id"]).describe()).raw_description.workflow_execution_info
    print(f"history of a 1,000-token answer: {info.history_length} events, {info.history_size_bytes} bytes")


async def _recovery(client: httpx.AsyncClient, stack: Stack) -> None:
    for how in ("seen by a supervisor", "found by its lease"):
        pauses = []
        for _ in range(4):
            await stack.heal()
            asking = asyncio.create_task(_one(client, stack.api_url, "/v1/responses", _prompt(150, 0.02, 0)))
            await asyncio.sleep(1.2)
            name = await stack.busy_worker()
            await (stack.kill_seen(name) if how.startswith("seen") else stack.kill(name))
            pauses.append(max((await asking).gaps))
        print(f"kill -9, {how}: pause of the client's stream, median {_ms(statistics.median(pauses))} of {len(pauses)}")


def _cpu(stack: Stack) -> dict[str, float]:
    """CPU seconds of each process so far (Linux)."""
    seconds = {}
    for name, process in stack.processes.items():
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds[name] = (int(fields[11]) + int(fields[12])) / 100
    return seconds


def _rss(stack: Stack) -> float:
    pages = [
        int(Path(f"/proc/{stack.processes[name].pid}/statm").read_text().split()[1])
        for name in ("api", "worker-0", "worker-1")
    ]
    return sum(pages) * 4096 / 2**20


def _p(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    asyncio.run(main())
