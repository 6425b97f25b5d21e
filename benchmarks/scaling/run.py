"""Runs the product at several sizes, and prints costs, lines and the worked example.

`RATES="0.5 4"` are the deltas a second of each live stream, two of them; `SIZES="25 50 100 200"` the numbers of live
streams; `BUSY_SIZES="20 40 60"` those of streams of 20 deltas a second; `RESPONSES="3 6 12"` the short responses a
second. `LIVE`, `RATE`, `SECONDS` and `KEPT_HOURS` describe a
workload of your own, whose figures are printed after the two of the page. `COSTS=costs.json` keeps the costs in a file;
where the file is there already, the figures follow from it, and nothing is measured.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import aiohttp
import redis.asyncio as aioredis
from temporalio.client import Client

from benchmarks.load.order import Order
from benchmarks.scaling import valkey_cluster
from benchmarks.scaling.costs import (
    Line,
    Window,
    at_rest,
    busy_costs,
    cpu_line,
    delta_rate,
    memory_line,
    part_costs,
    per_response,
    per_stream_hour,
    rate_line,
    response_line,
    socket_line,
)
from benchmarks.scaling.example import MIB, Assumptions, Costs, Workload, printed
from benchmarks.scaling.load import Clients
from benchmarks.scaling.readings import PARTS, Reading, read
from benchmarks.stack import CONFIG
from dev import services
from open_responses.io.redis import key_names
from open_responses.io.temporal.codec import DATA_CONVERTER
from tests.support.stack import Stack

_APIS, _WORKERS = 2, 4
_WINDOW_SECONDS = 5.0
_BUSY_RATE = 20.0
_RECORD_WORDS = (2, 402)
_SHORT_SECONDS, _SHORT_WORDS = 6.0, 2
# A worker's heartbeats reach Temporal every 48 seconds, so this is one of each stream.
_QUIET_STREAMS, _QUIET_RATE, _QUIET_SECONDS = 20, 0.2, 48.0
_LOG_STREAMS, _LOG_SECONDS = 300, 4.0
_LOG_EVENTS_PER_NODE = 2500
_AtRest: TypeAlias = Mapping[str, Mapping[str, float]]
"""By `requests` and `writes`: those a second of the processes at rest, by name."""
_EXAMPLES = (
    Workload("chat", live=1_000_000, rate=20, seconds=20, kept_hours=1),
    Workload("agents", live=1_000_000, rate=2, seconds=600, kept_hours=1),
)


async def main() -> None:
    """On real parts of its own."""
    file = Path(os.environ["COSTS"]) if "COSTS" in os.environ else None
    if file is not None and file.exists():
        costs = Costs.read(file.read_text())
        _print_costs(costs)
    else:
        costs = await _measured()
        if file is not None:
            file.write_text(costs.written())
    assumed = Assumptions()
    print(f"\nthe worked example, by {assumed}")
    for load in (*_EXAMPLES, *_own()):
        print("\n".join(printed(costs, load, assumed)))


async def _measured() -> Costs:
    """The costs. Everything that they follow from is printed."""
    sizes, busy_sizes = _numbers("SIZES", "25 50 100 200"), _numbers("BUSY_SIZES", "20 40 60")
    rates, per_second = _numbers("RATES", "0.5 4"), _numbers("RESPONSES", "3 6 12")
    async with _running() as (stack, urls, metrics_port), aiohttp.ClientSession(connector=_connector()) as session:
        clients = Clients(session, urls)
        await clients.responses(4, 4, _SHORT_WORDS)
        measuring = _Measuring(stack, metrics_port, clients)
        held: dict[float, list[Window]] = {}
        for rate, live in (*((rate, sizes) for rate in rates), (_BUSY_RATE, busy_sizes)):
            held[rate] = await measuring.held([int(size) for size in live], rate)
            _print_held(rate, held[rate])
        busy = held.pop(_BUSY_RATE)
        short = [await measuring.short(count) for count in per_second]
        history, record = await _history(stack, urls[0]), await _record_per_delta(stack, urls[0])
        # Its own servers take nothing from these streams, which cost next to nothing.
        quiet, log = await asyncio.gather(measuring.quiet(), _log_on_a_cluster())
    rest = {what: at_rest([*itertools.chain(*held.values())], what) for what in ("requests", "writes")}
    _print_short(short, history, rest)
    costs = _costs(held, busy, short, quiet, rest, log, record)
    _print_open(quiet, rest)
    _print_costs(costs)
    _print_log(log)
    return costs


def _numbers(name: str, default: str) -> list[float]:
    return [float(number) for number in os.environ.get(name, default).split()]


@asynccontextmanager
async def _running() -> AsyncIterator[tuple[Stack, list[str], int]]:
    """The parts as child processes; the addresses of the API processes, and the port of Temporal's metrics."""
    with tempfile.TemporaryDirectory() as folder:
        ports = {name: services.free_port() for name in ("valkey", "temporal", "api")}
        upstream, metrics_port = services.free_port(), services.free_port()
        stack = Stack.at(Path(folder), ports, CONFIG.format(port=upstream), {})
        command = (sys.executable, "-m", "benchmarks.load.upstream", str(upstream))
        stack.services["upstream"] = services.Service("upstream", command, lambda: services.port_answers(upstream))
        temporal = stack.services["temporal"]
        options = ("--metrics-port", str(metrics_port))
        stack.services["temporal"] = replace(temporal, command=(*temporal.command, *options))
        urls = [stack.api_url]
        for number in range(1, _APIS):
            port = services.free_port()
            urls.append(f"http://127.0.0.1:{port}")
            stack.services[f"api-{number}"] = replace(services.api(port, stack.env), name=f"api-{number}")
        try:
            workers = [f"worker-{number}" for number in range(_WORKERS)]
            for name in ("upstream", "valkey", "temporal", *workers):
                await stack.start(name)
            for name in ("api", *(f"api-{number}" for number in range(1, _APIS))):
                await stack.start(name)
            yield stack, urls, metrics_port
        finally:
            await stack.stop()


def _connector() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(limit=0)


class _Measuring:
    """Reads the counters before and after a window of time."""

    def __init__(self, stack: Stack, metrics_port: int, clients: Clients) -> None:
        self._stack = stack
        self._port = metrics_port
        self._clients = clients

    async def held(self, sizes: Sequence[int], rate: float) -> list[Window]:
        """A window without streams, then one at each number of live streams, in which none begins or ends."""
        await asyncio.sleep(2)
        windows = [await self._window(0, _WINDOW_SECONDS)]

        async def measure(live: int) -> None:
            windows.append(await self._window(live, _WINDOW_SECONDS))

        await self._clients.hold(sizes, rate, _WINDOW_SECONDS, measure)
        return windows

    async def short(self, per_second: float) -> Window:
        """A window in which short responses begin and end all the time."""
        load = asyncio.create_task(self._clients.responses(per_second, _SHORT_SECONDS + 2, _SHORT_WORDS))
        await asyncio.sleep(1)
        window = await self._window(0, _SHORT_SECONDS)
        await load
        return window

    async def quiet(self) -> Window:
        """A long window in which few streams are open and bring little."""
        windows = list[Window]()

        async def measure(live: int) -> None:
            windows.append(await self._window(live, _QUIET_SECONDS))

        await self._clients.hold([_QUIET_STREAMS], _QUIET_RATE, _QUIET_SECONDS, measure)
        return windows[0]

    async def _window(self, live: int, seconds: float) -> Window:
        before, had = await self._read(), replace(self._clients.received)
        await asyncio.sleep(seconds)
        after, has = await self._read(), self._clients.received
        return Window.between(
            before,
            after,
            live=live,
            deltas=has.deltas - had.deltas,
            responses=has.ended - had.ended,
            sse=has.bytes - had.bytes,
        )

    async def _read(self) -> Reading:
        return await read(self._stack, self._port)


async def _history(stack: Stack, url: str) -> tuple[int, int]:
    """Events and bytes of the history of a short response."""
    response_id = await _stored(url, _SHORT_WORDS)
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    handle = temporal.get_workflow_handle(response_id)
    await handle.result()
    info = (await handle.describe()).raw_description.workflow_execution_info
    return info.history_length, info.history_size_bytes


async def _record_per_delta(stack: Stack, url: str) -> float:
    """The bytes by which the record of an ended response grows with each of its deltas."""
    sizes = list[int]()
    client = aioredis.Redis.from_url(stack.redis_url)
    for words in _RECORD_WORDS:
        record = key_names.record(await _stored(url, words))
        sizes.append(await client.memory_usage(record, samples=0) or 0)
    await client.aclose()
    return (sizes[1] - sizes[0]) / (_RECORD_WORDS[1] - _RECORD_WORDS[0])


async def _stored(url: str, words: int) -> str:
    """The id of a response that has ended."""
    async with aiohttp.ClientSession() as session:
        body = {"model": "fake", "input": Order(words).prompt}
        async with session.post(url + "/v1/responses", json=body) as response:
            response_id: str = json.loads(await response.read())["id"]
            return response_id


def _costs(
    held: Mapping[float, Sequence[Window]],
    busy: Sequence[Window],
    short: Sequence[Window],
    quiet: Window,
    rest: _AtRest,
    log: Sequence[valkey_cluster.LogCost],
    record: float,
) -> Costs:
    slow = held[min(held)]
    processes = {"api": _APIS, "worker": _WORKERS}
    parts = part_costs(held, short, _SHORT_WORDS)
    parts_when_busy = busy_costs(parts, busy)
    memory = {part: memory_line(slow, part) for part in processes}
    moving = [window for window in busy if window.live]
    # At rest by process, as a further process brings the cost again.
    for part, count in processes.items():
        for costs in (parts, parts_when_busy):
            costs[part] = replace(costs[part], at_rest=costs[part].at_rest / count)
    redis_sockets = socket_line(slow, "valkey")
    return Costs(
        parts=parts_when_busy,
        parts_at_low_rates=parts,
        process_memory={part: memory[part].intercept / count for part, count in processes.items()},
        stream_memory={part: max(0.0, line.slope) for part, line in memory.items()},
        redis_delta_in_pipelines=min(cost.cpu for cost in log if cost.nodes == 1),
        redis_connections=redis_sockets.intercept / (_APIS + _WORKERS),
        redis_calls_at_rest=slow[0].calls / slow[0].seconds / (_APIS + _WORKERS),
        redis_memory_per_response=sum(w.redis_memory for w in short) / sum(w.responses for w in short),
        redis_memory_per_delta=sum(w.redis_memory for w in moving) / sum(w.deltas for w in moving),
        redis_record_per_delta=record,
        redis_in_per_delta=rate_line(busy, "redis_in", "deltas").slope,
        redis_out_per_delta=rate_line(busy, "redis_out", "deltas").slope,
        sse_per_delta=rate_line(busy, "sse_bytes", "deltas").slope,
        temporal_bytes_per_response=rate_line(short, "temporal_bytes", "responses").slope,
        temporal_requests=sum(per_response(short, "requests", rest["requests"]).values()),
        temporal_writes=sum(per_response(short, "writes", rest["writes"]).values()),
        temporal_writes_per_stream_hour=sum(per_stream_hour(quiet, "writes", rest["writes"]).values()),
        temporal_requests_per_stream_hour=sum(per_stream_hour(quiet, "requests", rest["requests"]).values()),
    )


def _print_held(rate: float, windows: Sequence[Window]) -> None:
    print(
        f"\nlive streams of {rate:g} deltas/s, {_APIS} API processes, {_WORKERS} workers: "
        "cores, MiB and sockets by part"
    )
    for window in windows:
        cpu = "  ".join(f"{PARTS[part]} {window.cpu[part]:.3f}" for part in PARTS)
        memory = "  ".join(f"{window.end.memory[part] / MIB:.0f}" for part in PARTS)
        sockets = "  ".join(f"{window.end.sockets[part]}" for part in PARTS)
        print(f"  {window.live:>4}: {window.deltas / window.seconds:>6.1f} deltas/s  {cpu}", end="")
        print(f" | MiB {memory} | sockets {sockets} | Redis {window.calls / window.seconds:.0f} calls/s", end="")
        print(f", {window.commands / window.seconds:.0f} commands/s")
    for part, name in PARTS.items():
        cpu_fit, memory_fit, socket_fit = (f(windows, part) for f in (cpu_line, memory_line, socket_line))
        print(f"  {name:<9} CPU {_line(cpu_fit, 1000, 'mcores')}", end="")
        print(f"   memory {_line(memory_fit, 1 / 1024, 'KiB')}   sockets {_line(socket_fit, 1, '')}")
    print(f"  a stream brings {delta_rate(windows):.2f} deltas/s", end="")
    for name, what in (
        ("calls", "calls"),
        ("commands", "commands"),
        ("bytes in", "redis_in"),
        ("out", "redis_out"),
    ):
        print(f", Redis {name} {rate_line(windows, what, 'deltas').slope:.2f} per delta", end="")
    print(f", SSE {rate_line(windows, 'sse_bytes', 'deltas').slope:.0f} bytes per delta")


def _print_short(short: Sequence[Window], history: tuple[int, int], rest: _AtRest) -> None:
    print(f"\nresponses of {_SHORT_WORDS} deltas")
    for window in short:
        cpu = "  ".join(f"{PARTS[part]} {window.cpu[part]:.3f}" for part in PARTS)
        print(f"  {window.responses / window.seconds:.1f} responses/s  {cpu}")
    for part, name in PARTS.items():
        print(f"  {name:<9} CPU {_line(response_line(short, part), 1000, 'ms per response')}")
    for name, what in (("requests", "requests"), ("writes to the database", "writes")):
        found = per_response(short, what, rest[what])
        print(f"  Temporal, {name} per response: {sum(found.values()):.1f}", end=" (")
        print(", ".join(f"{operation} {count:.1f}" for operation, count in found.items()) + ")")
    print(f"  history of one response: {history[0]} events, {history[1]} bytes")
    for name, what in (("calls", "calls"), ("commands", "commands"), ("bytes in", "redis_in"), ("out", "redis_out")):
        print(f"  Redis, {name} per response: {rate_line(short, what, 'responses').slope:.0f}")


def _print_open(quiet: Window, rest: _AtRest) -> None:
    for name, what in (("requests", "requests"), ("writes to the database", "writes")):
        print(f"  Temporal, {name} in an hour of an open stream: ", end="")
        found = per_stream_hour(quiet, what, rest[what])
        print(", ".join(f"{operation} {count:.0f}" for operation, count in found.items()) or "none")
        print(f"  Temporal, {name} a second at rest: ", end="")
        print(", ".join(f"{operation} {count:.1f}" for operation, count in rest[what].items()) or "none")


def _print_costs(costs: Costs) -> None:
    print("\ncosts: CPU of one core; API and workers at rest by process")
    for part, name in PARTS.items():
        cost = costs.parts[part]
        print(f"  {name:<9} at rest {cost.at_rest * 1000:.1f} mcores", end="")
        low = costs.parts_at_low_rates[part].delta
        print(f"   open stream {cost.stream_second * 1e6:.0f} us/s   delta {low * 1e6:.0f} us", end="")
        print(f", {cost.delta * 1e6:.0f} us where many come", end="")
        print(f"   response {cost.response * 1000:.1f} ms", end="")
        if part in costs.process_memory:
            print(f"   {costs.process_memory[part] / MIB:.0f} MiB by process", end="")
            print(f" and {costs.stream_memory[part] / 1024:.0f} KiB by stream", end="")
        print()
    print(f"  Redis keeps {costs.redis_memory_per_response / 1024:.1f} KiB by ended response", end="")
    print(f" and {costs.redis_record_per_delta:.0f} bytes by its delta,", end="")
    print(f" {costs.redis_memory_per_delta:.0f} bytes by delta in the log;", end="")
    print(f" {costs.redis_connections:.1f} connections by process, {costs.redis_calls_at_rest:.1f} calls/s at rest")
    print(f"  Temporal: {costs.temporal_bytes_per_response / 1024:.1f} KiB by response on the network,", end="")
    print(f" {costs.temporal_requests_per_stream_hour:.0f} requests and", end="")
    print(f" {costs.temporal_writes_per_stream_hour:.0f} writes to the database in an hour of an open stream")


def _line(line: Line, scale: float, unit: str) -> str:
    return f"{line.intercept * scale:.1f} + {line.slope * scale:.3f} x {unit} (r2 {line.fit:.2f})".replace(" )", ")")


async def _log_on_a_cluster() -> list[valkey_cluster.LogCost]:
    kinds: tuple[tuple[int, valkey_cluster.Publish], ...] = ((1, "PUBLISH"), (3, "PUBLISH"), (3, "SPUBLISH"))
    return [
        await valkey_cluster.measure(
            nodes=nodes,
            publish=publish,
            streams=_LOG_STREAMS,
            per_second=nodes * _LOG_EVENTS_PER_NODE,
            seconds=_LOG_SECONDS,
        )
        for (nodes, publish), _ in itertools.product(kinds, range(2))
    ]


def _print_log(found: Sequence[valkey_cluster.LogCost]) -> None:
    print(f"\nappends to the log alone, {_LOG_STREAMS} streams, {_LOG_EVENTS_PER_NODE} events/s for each node")
    for cost in found:
        print(f"  {cost.nodes} node(s), {cost.publish:<8} {cost.per_second:,.0f} events/s", end="")
        print(
            f"   CPU {cost.cpu * 1e6:.1f} us per event, busiest node {cost.busiest * cost.per_second:.3f} cores", end=""
        )
        print(f"   {cost.bus:.2f} messages between nodes per event, readers were sent {cost.received:.1%}")


def _own() -> list[Workload]:
    if "LIVE" not in os.environ:
        return []
    live, kept = int(os.environ["LIVE"]), float(os.environ.get("KEPT_HOURS", 1))
    rate, seconds = float(os.environ.get("RATE", 20)), float(os.environ.get("SECONDS", 20))
    return [Workload("yours", live, rate, seconds, kept)]


if __name__ == "__main__":
    began = time.perf_counter()
    asyncio.run(main())
    print(f"  ({time.perf_counter() - began:.0f} s)")
