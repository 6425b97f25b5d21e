"""A primary Redis, two replicas and a Sentinel, as real processes; the links to Redis follow each failover.

The product is given one address. What follows a failover is the proxy in front of it, as HAProxy or a cloud's endpoint
does: `follow_failovers` points the links to the promoted replica when Sentinel publishes `+switch-master`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from dev import services
from dev.services import Service
from tests.campaigns.tcp_proxy import Links
from tests.support.stack import Stack

NODES = ("valkey", "valkey-1", "valkey-2")
SENTINEL = "sentinel"
_GROUP = "campaign"
# Longer than a restart in place takes, so that a killed Redis which is started again at once stays the primary.
_DOWN_AFTER_MS = 3000
_FAILOVER_SECONDS = 60.0


class ReplicatedRedis:
    """`stack.redis_url` is always the address of the primary itself, without a link in between."""

    def __init__(self, stack: Stack, links: Links, link_names: tuple[str, ...]) -> None:
        self._stack = stack
        self._links = links
        self._link_names = link_names
        self._ports = {name: services.free_port() for name in (*NODES, SENTINEL)}
        self._following: asyncio.Task[None] | None = None
        self._switched = asyncio.Event()
        self.primary = NODES[0]

    @property
    def primary_port(self) -> int:
        return self._ports[self.primary]

    async def start(self) -> None:
        """Start all of them, the Sentinel last. Add them to the stack, which restarts what a fault has ended."""
        for name in NODES:
            self._stack.services[name] = self._node(name)
            await self._stack.start(name)
        self._stack.redis_url = self._url(self.primary)
        self._stack.services[SENTINEL] = self._sentinel()
        await self._stack.start(SENTINEL)
        await self._links.point_to(self.primary_port, *self._link_names)
        self._following = asyncio.create_task(self._follow_failovers())

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def replicas_are_synced(self) -> bool:
        """Whether Sentinel has a replica to promote, and both have a working link to the primary."""
        try:
            client = aioredis.Redis.from_url(self._url(self.primary), socket_timeout=2)
            about = await client.info("replication")
            await client.aclose()
            sentinel = aioredis.Redis.from_url(self._url(SENTINEL), socket_timeout=2, decode_responses=True)
            master = await sentinel.sentinel_master(_GROUP)
            known = await sentinel.sentinel_slaves(_GROUP)
            await sentinel.aclose()
        except (RedisError, OSError):
            return False
        online = [about.get(f"slave{index}", {}).get("state") == "online" for index in range(2)]
        healthy = [not (one["is_sdown"] or one["is_disconnected"]) for one in known]
        return about["role"] == "master" and all(online) and not master["is_sdown"] and sum(healthy) >= 2

    @asynccontextmanager
    async def failing_over(self) -> AsyncIterator[None]:
        """Around the end of the primary; left when Sentinel has promoted a replica and the links point to it.

        Raises TimeoutError.
        """
        self._switched.clear()
        yield
        await asyncio.wait_for(self._switched.wait(), _FAILOVER_SECONDS)

    async def _follow_failovers(self) -> None:
        names = {str(port): name for name, port in self._ports.items()}
        while True:
            try:
                sentinel = aioredis.Redis.from_url(self._url(SENTINEL), decode_responses=True)
                async with sentinel.pubsub() as channel:
                    await channel.subscribe("+switch-master")
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self.primary = names[message["data"].split()[-1]]
                            self._stack.redis_url = self._url(self.primary)
                            await self._links.point_to(self.primary_port, *self._link_names)
                            self._switched.set()
            except (RedisError, OSError):
                await asyncio.sleep(0.2)

    def _url(self, name: str) -> str:
        return f"redis://127.0.0.1:{self._ports[name]}/0"

    def _node(self, name: str) -> Service:
        """With a configuration file, into which Sentinel has a node write its role: a restart keeps it."""
        folder = self._stack.data / name
        service = replace(services.valkey(self._ports[name], folder), name=name)
        lines = ["appendonly yes", 'save ""', "repl-diskless-sync-delay 0"]
        if name != NODES[0]:
            lines.append(f"replicaof 127.0.0.1 {self._ports[NODES[0]]}")
        return self._configured(service, folder / "valkey.conf", lines)

    def _sentinel(self) -> Service:
        folder = self._stack.data / SENTINEL
        service = replace(services.valkey(self._ports[SENTINEL], folder), name=SENTINEL)
        lines = [
            f"sentinel monitor {_GROUP} 127.0.0.1 {self.primary_port} 1",
            f"sentinel down-after-milliseconds {_GROUP} {_DOWN_AFTER_MS}",
            f"sentinel failover-timeout {_GROUP} 5000",
        ]
        return self._configured(service, folder / "sentinel.conf", lines, "--sentinel")

    @staticmethod
    def _configured(service: Service, file: Path, lines: list[str], *arguments: str) -> Service:
        binary, *_ = service.command
        port, folder = service.command[2], service.command[6]
        file.write_text("\n".join([f"port {port}", "bind 127.0.0.1", f"dir {folder}", *lines, ""]))
        return replace(service, command=(binary, str(file), *arguments))
