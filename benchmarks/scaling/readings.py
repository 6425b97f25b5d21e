"""Counters of the processes of a stack, read at one moment: CPU, memory, connections, bytes, commands, requests."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import redis.asyncio as aioredis

from benchmarks import processes
from tests.support.stack import Stack

PARTS: Mapping[str, str] = {"api": "API", "worker": "workers", "valkey": "Valkey", "temporal": "Temporal"}
"""The part of a process, by the beginning of its name, and the name of the part in the output."""
_MIB = 2**20
_LINE = re.compile(
    r'^(?P<name>service_requests|persistence_requests)\{.*?operation="(?P<what>\w+)".*?\} (?P<count>\S+)'
)
_FRONTEND = 'service_name="frontend"'
_HISTORY = 'service_name="history"'
_BYTES_OF_SOCKET = re.compile(r"bytes_(?:sent|received):(\d+)")


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters at one moment. CPU in seconds and memory in bytes by part, where pages that
    processes share are divided among them; the others are totals since the start.

    `requests` are calls of Temporal's frontend, and `writes` those operations of its history service on the database
    that change something, both by name.
    """

    at: float
    cpu: Mapping[str, float]
    memory: Mapping[str, float]
    sockets: Mapping[str, int]
    commands: int
    calls: int
    redis_in: int
    redis_out: int
    redis_memory: int
    temporal_bytes: int
    requests: Mapping[str, float]
    writes: Mapping[str, float]


async def read(stack: Stack, metrics_port: int) -> Reading:
    """Read the counters of all processes (Linux). `metrics_port` is that of Temporal's metrics."""
    cpu, memory, sockets = defaultdict[str, float](float), defaultdict[str, float](float), defaultdict[str, int](int)
    at = time.monotonic()
    for name, process in stack.processes.items():
        if (part := re.sub(r"-\d+$", "", name)) not in PARTS:
            continue
        cpu[part] += processes.cpu_seconds(process.pid)
        memory[part] += processes.memory(process.pid).proportional * _MIB
        sockets[part] += _open_sockets(process.pid)
    client = aioredis.Redis.from_url(stack.redis_url)
    info = await client.info("everything")
    await client.aclose()
    stats = {name: int(counts["calls"]) for name, counts in info.items() if name.startswith("cmdstat_")}
    calls = sum(stats.get(f"cmdstat_{name}", 0) for name in ("eval", "evalsha"))
    requests, writes = await asyncio.to_thread(_temporal, metrics_port)
    return Reading(
        at=at,
        cpu=cpu,
        memory=memory,
        sockets=sockets,
        commands=sum(stats.values()),
        calls=calls,
        redis_in=int(info["total_net_input_bytes"]),
        redis_out=int(info["total_net_output_bytes"]),
        redis_memory=int(info["used_memory"]),
        temporal_bytes=await _bytes_at(int(stack.temporal_address.rpartition(":")[2])),
        requests=requests,
        writes=writes,
    )


def _open_sockets(pid: int) -> int:
    return sum(map(_is_socket, Path(f"/proc/{pid}/fd").iterdir()))


def _is_socket(fd: Path) -> bool:
    try:
        return str(fd.readlink()).startswith("socket:")
    except OSError:  # closed meanwhile
        return False


def _temporal(port: int) -> tuple[dict[str, float], dict[str, float]]:
    requests, writes = defaultdict[str, float](float), defaultdict[str, float](float)
    text = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    for found, line in _matches(text.splitlines()):
        if found["name"] == "service_requests" and _FRONTEND in line:
            requests[found["what"]] += float(found["count"])
        elif found["name"] == "persistence_requests" and _HISTORY in line and not _only_reads(found["what"]):
            writes[found["what"]] += float(found["count"])
    return requests, writes


def _matches(lines: Iterable[str]) -> Iterable[tuple[re.Match[str], str]]:
    return ((found, line) for line in lines if (found := _LINE.match(line)))


def _only_reads(operation: str) -> bool:
    return operation.startswith(("Get", "Read", "List"))


async def _bytes_at(port: int) -> int:
    """The bytes that all open connections of a server have sent and received, as the kernel counts them."""
    process = await asyncio.create_subprocess_exec(
        *("ss", "-tinH", "state", "established", f"sport = :{port}"), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return sum(map(int, _BYTES_OF_SOCKET.findall(out.decode())))
