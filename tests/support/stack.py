"""The real parts, as child processes on free ports."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import httpx
import redis.asyncio as aioredis

from dev import services
from dev.services import Service
from dev.supervisor import new_worker_id
from open_responses.io.redis import key_names
from open_responses.io.redis.leases import announce_death
from tests.support.spec import validate_event

Event = dict[str, Any]


@dataclass
class Stack:
    """One set of servers. `start` and `kill` work by name: valkey, temporal, llama, worker-0, worker-1, api."""

    data: Path
    services: dict[str, Service] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)
    redis_url: str = ""
    temporal_address: str = ""
    api_url: str = ""
    mcp_url: str = ""
    env: dict[str, str] = field(default_factory=dict)
    own_env: dict[str, dict[str, str]] = field(default_factory=dict)
    """What single workers have beside `env`, by name."""
    metrics_ports: dict[str, int] = field(default_factory=dict)
    """Where single workers serve their metrics, by name; nowhere by default."""
    launched: Callable[[Service], Service] | None = None
    """Makes another command of that of the API or a worker, before it is started."""

    @classmethod
    def at(cls, data: Path, ports: Mapping[str, int], configuration: str, env: Mapping[str, str]) -> Self:
        """Valkey, Temporal and the API at these `ports`, by name, and workers.

        They keep their files in `data`, and read this configuration. Ours have `env` in their environment as well.
        """
        config = data / "open_responses.toml"
        config.write_text(configuration)
        (data / "hosted").mkdir()
        stack = cls(data)
        stack.redis_url = f"redis://127.0.0.1:{ports['valkey']}/0"
        stack.temporal_address = f"127.0.0.1:{ports['temporal']}"
        stack.api_url = f"http://127.0.0.1:{ports['api']}"
        stack.env = {
            "TEMPORAL_ADDRESS": stack.temporal_address,
            "REDIS_URL": stack.redis_url,
            "OPEN_RESPONSES_CONFIG": str(config),
            "OPEN_RESPONSES_DATA_DIR": str(data),
            "HOSTED_TOOLS_DIR": str(data / "hosted"),
            **env,
        }
        stack.services = {
            "valkey": services.valkey(ports["valkey"], data),
            "temporal": services.temporal(ports["temporal"], data),
            "api": services.api(ports["api"], stack.env),
        }
        return stack

    async def start(self, name: str, worker_name: str | None = None) -> None:
        """`worker_name` is what a worker is called in its environment; a name of its own by default."""
        if name.startswith("worker-"):
            index = int(name.removeprefix("worker-"))
            env = {**self.env, **self.own_env.get(name, {})}
            self.services[name] = services.worker(
                index, worker_name or new_worker_id(index), env, metrics_port=self.metrics_ports.get(name, 0)
            )
        service = self.services[name]
        if self.launched is not None and name.startswith(("api", "worker-")):
            service = self.launched(service)
        self.processes[name] = service.start(self.data / "logs")
        assert await services.wait_ready(service, self.processes[name], 60), f"{name} did not start"

    async def start_local_model(self) -> None:
        """Start llama.cpp (model `smollm2`), unless it runs: few tests need it, and it takes seconds to load."""
        if "llama" not in self.processes:
            await self.start("llama")

    def signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self.processes[name].pid, number)
        if number == signal.SIGTERM:
            self.leaving.add(name)

    async def kill(self, name: str) -> None:
        """`kill -9`, and nobody is told."""
        self.signal(name, signal.SIGKILL)
        await asyncio.to_thread(self.processes[name].wait)

    async def kill_seen(self, name: str) -> None:
        """`kill -9` under the eyes of a supervisor."""
        await self.kill(name)
        await announce_death(self.redis_url, self.services[name].env["OPEN_RESPONSES_WORKER_ID"])

    async def kill_valkey_synced(self) -> None:
        """`kill -9` of Valkey, once all that it has acknowledged is on disk.

        With `appendfsync everysec` it holds its writes back while an earlier fsync is under way, for two seconds at
        most. A kill loses them.
        """
        client = aioredis.Redis.from_url(self.redis_url)
        # WAITAOF waits for the writes of its own connection alone.
        await client.set("synced", 1, ex=60)
        synced, _ = await client.execute_command("WAITAOF", 1, 0, 30_000)
        await client.aclose()
        assert synced == 1, "Valkey has not written its append-only file in 30 s"
        await self.kill("valkey")

    async def flush(self) -> None:
        """`FLUSHALL`: Redis forgets everything."""
        client = aioredis.Redis.from_url(self.redis_url)
        await client.flushall()
        await client.aclose()

    async def worker_id(self, name: str) -> str | None:
        """The id under which this worker holds its lease: its name, and a random part. None while it holds none."""
        prefix = self.services[name].env["OPEN_RESPONSES_WORKER_ID"] + ":"
        client = aioredis.Redis.from_url(self.redis_url)
        members = [member.decode() for member in await client.zrange(key_names.LEASES, 0, -1)]
        await client.aclose()
        return next((member for member in members if member.startswith(prefix)), None)

    async def busy_workers(self) -> list[str]:
        """The workers that run a sample or a tool, as their leases say."""
        client = aioredis.Redis.from_url(self.redis_url)
        try:
            busy = []
            for name in [name for name in self.services if name.startswith("worker-")]:
                worker_id = await self.worker_id(name)
                if worker_id and await client.execute_command("HLEN", key_names.running(worker_id)):
                    busy.append(name)
            return busy
        finally:
            await client.aclose()

    async def busy_worker(self) -> str:
        """The worker that runs the only sample. Waits for one: a lease says what its worker runs when it is renewed."""
        busy = list[str]()

        async def is_any() -> bool:
            busy[:] = await self.busy_workers()
            return bool(busy)

        await until(is_any)
        return busy[0]

    async def heal(self) -> None:
        """Start again whatever a test has ended."""
        for name, process in list(self.processes.items()):
            if name in self.leaving:
                self.leaving.discard(name)
                await asyncio.to_thread(process.wait, 30)
            if process.poll() is not None:
                await self.start(name)

    async def stop(self) -> None:
        for process in reversed(self.processes.values()):
            await services.stop(process)


def http_client(base_url: str, seconds: float = 60) -> httpx.AsyncClient:
    """For plain HTTP. It loads no root certificates, which would take 40 ms of the processor's time in each test."""
    return httpx.AsyncClient(base_url=base_url, timeout=seconds, trust_env=False, verify=False)


@asynccontextmanager
async def another_api(
    stack: Stack, head: str = "", tail: str = "", env: dict[str, str] | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a second API whose configuration has more at its beginning or its end, or in its environment."""
    port = services.free_port()
    name, config = f"api-{port}", stack.data / f"api-{port}.toml"
    config.write_text("\n".join([head, (stack.data / "open_responses.toml").read_text(), tail]))
    env = {**stack.env, "OPEN_RESPONSES_CONFIG": str(config), **(env or {})}
    stack.services[name] = replace(services.api(port, env, host=host), name=name)
    await stack.start(name)
    try:
        async with http_client(f"http://127.0.0.1:{port}", seconds=600) as client:
            yield client
    finally:
        if "COVERAGE_PROCESS_CONFIG" in os.environ:
            # `make coverage` would lose what a killed process has measured.
            await services.stop(stack.processes[name])
        else:
            await stack.kill(name)
        del stack.processes[name], stack.services[name]


async def events_of(
    client: httpx.AsyncClient,
    body: dict[str, Any] | None = None,
    *,
    resume: tuple[str, int | None] | None = None,
) -> AsyncIterator[Event]:
    """The events of a new response, or of an old one after an event; each is checked against the schema (SSE-1..3)."""
    if resume is None:
        request = client.build_request("POST", "/v1/responses", json={"model": "fake", "stream": True, **(body or {})})
    else:
        params = {"stream": "true"} | ({} if resume[1] is None else {"starting_after": str(resume[1])})
        request = client.build_request("GET", f"/v1/responses/{resume[0]}", params=params)
    response = await client.send(request, stream=True)
    try:
        if response.status_code != 200:
            await response.aread()
            raise AssertionError(f"{response.status_code}: {response.text}")
        async for event in _parsed(response):
            yield event
    finally:
        await response.aclose()


async def _parsed(response: httpx.Response) -> AsyncIterator[Event]:
    name, ended = "", False
    async for line in response.aiter_lines():
        assert not ended or not line, "nothing follows [DONE]"
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line == "data: [DONE]":
            ended = True
        elif line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            assert event["type"] == name
            validate_event(event)
            yield event
        else:
            assert not line or line.startswith(":"), line
    assert ended, "a stream ends with [DONE]"


async def collect(client: httpx.AsyncClient, body: dict[str, Any]) -> list[Event]:
    return [event async for event in events_of(client, body)]


def text_of(events: list[Event]) -> str:
    return "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")


def check_whole(events: list[Event], text: str, status: str = "completed") -> dict[str, Any]:
    """No gap, no repeat, one terminal event that agrees with the deltas. Returns the final response."""
    assert [e["sequence_number"] for e in events] == list(range(len(events)))
    terminal = [e for e in events if e["type"] in ("response.completed", "response.incomplete", "response.failed")]
    assert terminal == events[-1:]
    response: dict[str, Any] = terminal[0]["response"]
    assert response["status"] == status, response["error"]
    assert text_of(events) == text
    done = {e["output_index"]: e["item"] for e in events if e["type"] == "response.output_item.done"}
    assert [done[index] for index in sorted(done)] == response["output"]
    assert len(done) == sum(e["type"] == "response.output_item.done" for e in events)
    return response


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 50.0) -> None:
    """Wait for a condition, with a deadline."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)
