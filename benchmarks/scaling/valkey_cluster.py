"""A three-node Valkey cluster that takes the appends of the event log, and nothing else.

The keys of a response have one hash tag, so the append script runs on any cluster. This shows what a node saves when
there are more of them, for both ways to publish: PUBLISH, which a cluster passes on to every node, and SPUBLISH, which
stays on the node that has the channel's slot. The product uses neither a cluster nor SPUBLISH (docs/scaling.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import redis.asyncio as aioredis
from redis.crc import key_slot

from benchmarks.processes import cpu_seconds
from dev import services
from open_responses.events.fold import Fold
from open_responses.io.log import lives
from open_responses.io.log.append_script import AppendScript
from open_responses.io.log.batch import Batch
from open_responses.io.log.encoding import encode
from open_responses.io.log.writer import Writer
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, connect, script
from open_responses.io.redis.packed_pipeline import Command, PackedPipeline

Publish: TypeAlias = Literal["PUBLISH", "SPUBLISH"]

SLOTS = 16384
_READERS = 2
"""API processes that subscribe: each has half of the responses."""
_TTL_SECONDS = 600
_TICK_SECONDS = 0.01
_READY_SECONDS = 30.0
_DELTA = {
    "type": "response.output_text.delta",
    "item_id": "msg_0123456789abcdef0123456789abcdef",
    "output_index": 0,
    "content_index": 0,
    "delta": "word ",
    "logprobs": [],
}


@dataclass(frozen=True, slots=True)
class Node:
    """One server: its client, process id and port."""

    redis: Redis
    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class LogCost:
    """What appends cost the servers. `cpu` is seconds per event of all nodes together, `busiest` of the busiest one.

    `bus` is the number of messages that nodes have sent each other per event, `received` the events that readers were
    sent, as a share of the published ones.
    """

    nodes: int
    publish: Publish
    events: int
    asked_per_second: float
    per_second: float
    cpu: float
    busiest: float
    bus: float
    received: float


async def measure(*, nodes: int, publish: Publish, streams: int, per_second: int, seconds: float) -> LogCost:
    """Append `per_second` events a second, one at a time to each of `streams` logs in turn."""
    async with _servers(nodes) as servers:
        owners = [_owner(servers, response_id) for response_id in _ids(streams)]
        readers = await _Readers.subscribed(servers, list(zip(_ids(streams), owners, strict=True)), publish)
        try:
            return await _appended(servers, owners, readers, publish, streams, per_second, seconds)
        finally:
            await readers.close()


async def _appended(
    servers: Sequence[Node],
    owners: Sequence[int],
    readers: _Readers,
    publish: Publish,
    streams: int,
    per_second: int,
    seconds: float,
) -> LogCost:
    source = script("log/append.lua").replace("'PUBLISH'", f"'{publish}'")
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    for server in servers:
        await server.redis.script_load(source)
    command, writers = AppendScript(ttl_seconds=_TTL_SECONDS), list[Writer]()
    for response_id, owner in zip(_ids(streams), owners, strict=True):
        life = await lives.enter(servers[owner].redis, response_id, 1, ttl=_TTL_SECONDS)
        writers.append(Writer(_Unused(), response_id, fence=1, initial={}, fold=Fold(), life=life))
    pipelines = [PackedPipeline(server.redis) for server in servers]
    sequences, sent, turn = [0] * streams, 0, 0
    cpu = [cpu_seconds(server.pid) for server in servers]
    bus = await _bus_messages(servers)
    began = time.monotonic()
    while (now := time.monotonic() - began) < seconds:
        due = min(per_second, round(now * per_second) - sent)
        batches: list[list[Command]] = [[] for _ in servers]
        for _ in range(max(0, due)):
            batch = Batch(sequences[turn], [encode(_DELTA, sequences[turn])])
            name, _, *rest = command.command(writers[turn], batch)
            batches[owners[turn]].append((name, sha, *rest))
            sequences[turn] += 1
            turn = (turn + 1) % streams
        replies = await asyncio.gather(*(p.execute(b) for p, b in zip(pipelines, batches, strict=True)))
        for reply in (reply for one in replies for reply in one):
            if isinstance(reply, Exception) or reply[0] != 0:
                raise AssertionError(f"an append was refused: {reply}")
        sent += max(0, due)
        await asyncio.sleep(_TICK_SECONDS)
    took = time.monotonic() - began
    spent = [cpu_seconds(server.pid) - before for server, before in zip(servers, cpu, strict=True)]
    bus = await _bus_messages(servers) - bus
    for pipeline in pipelines:
        pipeline.close()
    await asyncio.sleep(0.2)  # the last messages are under way
    return LogCost(
        nodes=len(servers),
        publish=publish,
        events=sent,
        asked_per_second=per_second,
        per_second=sent / took,
        cpu=sum(spent) / sent,
        busiest=max(spent) / sent,
        bus=bus / sent,
        received=readers.messages / sent,
    )


class _Unused:
    """An appender for writers that only name their log."""

    server = 0

    def wake(self, writer: Writer, *, at_once: bool = False) -> None:
        """Nothing is written through a writer here."""

    def hurry(self) -> None:
        """Nothing is waited for here."""


def _ids(streams: int) -> list[str]:
    return [f"resp_{number:032x}" for number in range(streams)]


def _owner(servers: Sequence[Node], response_id: str) -> int:
    """The number of the node that has the slot; the slots are dealt out in equal ranges."""
    return key_slot(key_names.log(response_id).encode()) * len(servers) // SLOTS


class _Readers:
    """Subscriptions to all channels: one connection a process with PUBLISH, one a process and node with SPUBLISH."""

    def __init__(self) -> None:
        self.messages = 0
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def subscribed(
        cls, servers: Sequence[Node], responses: Sequence[tuple[str, int]], publish: Publish
    ) -> _Readers:
        """Subscribe to the channels of these (response id, number of its node)."""
        readers = cls()
        for number in range(_READERS):
            own = responses[number::_READERS]
            for index, server in enumerate(servers):
                if publish == "SPUBLISH":
                    channels = [key_names.channel(response_id) for response_id, owner in own if owner == index]
                else:
                    # Any node of a cluster has all messages, so one connection is enough.
                    channels = [key_names.channel(response_id) for response_id, _ in own] if index == 0 else []
                if channels:
                    await readers._subscribe(server, "S" * (publish == "SPUBLISH") + "SUBSCRIBE", channels)
        return readers

    async def _subscribe(self, server: Node, command: str, channels: Sequence[str]) -> None:
        """Over a plain socket: a client's parser is not what is measured."""
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
        for channel in channels:
            # A sharded subscription takes the channels of one slot only.
            words = (command, channel)
            writer.write(b"*2\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words))
        await writer.drain()
        confirmed = 0
        marker = b"subscribe\r\n"
        while confirmed < len(channels):
            async with asyncio.timeout(_READY_SECONDS):
                data = await reader.read(1 << 16)
            if not data or b"-ERR" in data or b"-MOVED" in data:
                raise AssertionError(f"a subscription was refused: {data[:200]!r}")
            confirmed += data.count(marker)
        self._tasks.append(asyncio.create_task(self._count(reader, writer)))

    async def _count(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        marker, tail = b'{"type":"response.', b""
        try:
            while data := await reader.read(1 << 18):
                text = tail + data
                self.messages += text.count(marker)
                tail = b"" if text.endswith(marker) else text[-len(marker) + 1 :]
        finally:
            writer.close()

    async def close(self) -> None:
        """Drop all subscriptions."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _bus_messages(servers: Sequence[Node]) -> int:
    """The messages with publications that nodes have sent to other nodes."""
    if len(servers) == 1:
        return 0
    total = 0
    for server in servers:
        info = _cluster_info(await server.redis.execute_command("CLUSTER INFO"))  # type: ignore[no-untyped-call]
        total += sum(int(info.get(f"cluster_stats_messages_{kind}_sent", 0)) for kind in ("publish", "publishshard"))
    return total


@asynccontextmanager
async def _servers(count: int) -> AsyncIterator[list[Node]]:
    """One server by itself, or a cluster of several, each with an append-only file."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        nodes, bus_ports = list[Node](), list[int]()
        for number in range(count):
            port, bus_port = services.free_port(), services.free_port()
            service = services.valkey(port, folder / f"node-{number}")
            if count > 1:
                options = ("--cluster-enabled", "yes", "--cluster-port", str(bus_port))
                service = replace(service, command=(*service.command, *options))
            process = service.start(folder / f"node-{number}")
            stack.push_async_callback(services.stop, process)
            assert await services.wait_ready(service, process, _READY_SECONDS), "Valkey did not start"
            redis = connect(f"redis://127.0.0.1:{port}/0")
            stack.push_async_callback(redis.aclose)
            nodes.append(Node(redis, process.pid, port))
            bus_ports.append(bus_port)
        if count > 1:
            await _join(nodes, bus_ports)
        yield nodes


async def _join(nodes: Sequence[Node], bus_ports: Sequence[int]) -> None:
    for number, node in enumerate(nodes):
        first, last = (-(-SLOTS * n // len(nodes)) for n in (number, number + 1))
        await node.redis.execute_command("CLUSTER ADDSLOTSRANGE", first, last - 1)  # type: ignore[no-untyped-call]
        met = (nodes[0].port, bus_ports[0])
        if number:
            await node.redis.execute_command("CLUSTER MEET", "127.0.0.1", *met)  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + _READY_SECONDS
    while not all([await _is_whole(node.redis, len(nodes)) for node in nodes]):
        assert time.monotonic() < deadline, "the nodes did not form a cluster"
        await asyncio.sleep(0.1)


async def _is_whole(redis: aioredis.Redis, size: int) -> bool:
    info = _cluster_info(await redis.execute_command("CLUSTER INFO"))  # type: ignore[no-untyped-call]
    return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == size


def _cluster_info(reply: object) -> Mapping[str, str]:
    if isinstance(reply, Mapping):
        return {str(name): str(value) for name, value in reply.items()}
    text = reply.decode() if isinstance(reply, bytes) else str(reply)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
