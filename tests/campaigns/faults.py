"""What goes wrong in a campaign: each fault breaks one thing, waits, and leaves the rest to `Servers.heal`."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from temporalio.service import RPCError

from tests.campaigns.answers import Answer
from tests.campaigns.servers import CLIENTS_OF_REDIS, WORKERS, Servers
from tests.support.stack import until

# Sentinel takes ten seconds until it makes a replica of a former primary.
_SYNC_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`weight` is how often it comes in one round through all of them."""

    name: str
    weight: int
    act: Callable[[], Awaitable[object]]


class Faults:
    """All faults that are possible with these servers. `in_flight` lists the answers that an operator may end."""

    def __init__(
        self,
        servers: Servers,
        draw: random.Random,
        in_flight: Callable[[], Sequence[Answer]],
        pause: tuple[float, float],
    ) -> None:
        self._servers = servers
        self._stack = servers.stack
        self._draw = draw
        self._in_flight = in_flight
        self._pause_seconds = pause

    def possible(self) -> list[Fault]:
        found = [*self._deaths(), *self._freezes(), *self._operator()]
        if "web" in self._stack.services:
            found.append(Fault("kill -9 of the search service", 1, lambda: self._stack.kill("web")))
        if self._servers.links is not None:
            found += self._networks()
        if self._servers.redis is not None:
            found += [
                Fault("failover of Redis: primary killed", 1, self._fail_over_killed),
                Fault("failover of Redis: primary frozen", 1, self._fail_over_frozen),
            ]
        if self._servers.disk is not None:
            found.append(Fault("full disk", 2, self._fill_disk))
        return found

    def _deaths(self) -> list[Fault]:
        stack = self._stack
        return [
            Fault("kill -9 of a worker, supervised", 3, lambda: stack.kill_seen(self._worker())),
            Fault("kill -9 of a worker", 3, lambda: stack.kill(self._worker())),
            Fault("kill -9 of all workers", 1, self._kill_all),
            Fault("worker restarted under its name", 2, self._restart_under_its_name),
            Fault("SIGTERM of a worker", 1, self._stop_worker),
            Fault("rolling deploy of the workers", 1, self._roll),
            Fault("kill -9 of the API", 3, lambda: stack.kill("api")),
            Fault("SIGTERM of the API", 1, self._stop_api),
            Fault("kill -9 of Redis", 1, lambda: stack.kill(self._redis())),
            Fault("kill -9 of Temporal", 1, lambda: stack.kill("temporal")),
            Fault("FLUSHALL", 2, stack.flush),
            Fault("FLUSHALL as a worker dies", 1, self._flush_and_kill),
            Fault("FLUSHALL as a worker dies, the API frozen", 1, self._flush_and_kill_unseen),
        ]

    def _freezes(self) -> list[Fault]:
        return [
            Fault("a worker frozen", 2, lambda: self._freeze(self._worker())),
            Fault("the API frozen", 1, lambda: self._freeze("api")),
            # Sentinel promotes another after three seconds.
            Fault("Redis frozen", 1, lambda: self._freeze(self._redis(), 1.5)),
            Fault("Temporal frozen", 1, lambda: self._freeze("temporal")),
        ]

    def _operator(self) -> list[Fault]:
        return [
            Fault("terminate in Temporal", 2, lambda: self._end_in_temporal("terminate")),
            Fault("cancel in Temporal", 2, lambda: self._end_in_temporal("cancel")),
        ]

    def _networks(self) -> list[Fault]:
        found = [Fault("slow Redis", 2, lambda: self._break_links("slow", CLIENTS_OF_REDIS, "redis"))]
        for server in ("redis", "temporal"):
            for mode, words in (("silent", "cut, silently"), ("reset", "cut, with resets")):
                found += [
                    Fault(f"API to {server.capitalize()} {words}", 1, self._cut(mode, server, "api")),
                    Fault(f"a worker to {server.capitalize()} {words}", 1, self._cut(mode, server)),
                ]
        return found

    def _cut(self, mode: str, server: str, client: str | None = None) -> Callable[[], Awaitable[None]]:
        return lambda: self._break_links(mode, (client or self._worker(),), server)

    def _worker(self) -> str:
        return self._draw.choice(WORKERS)

    def _redis(self) -> str:
        return self._servers.redis.primary if self._servers.redis is not None else "valkey"

    async def _pause(self) -> None:
        await asyncio.sleep(self._draw.uniform(*self._pause_seconds))

    async def _kill_all(self) -> None:
        await asyncio.gather(*(self._stack.kill(name) for name in WORKERS))

    async def _restart_under_its_name(self) -> None:
        """As a container is restarted: the host's name and the pid are the same."""
        name = self._worker()
        worker_name = self._stack.services[name].env["OPEN_RESPONSES_WORKER_ID"]
        await self._stack.kill(name)
        await self._stack.start(name, worker_name)

    async def _stop_worker(self) -> None:
        self._stack.signal(self._worker(), signal.SIGTERM)

    async def _roll(self) -> None:
        """One worker after the other is told to stop; its successor starts once it has left."""
        for name in WORKERS:
            self._stack.signal(name, signal.SIGTERM)
            await self._stack.heal()

    async def _stop_api(self) -> None:
        self._stack.signal("api", signal.SIGTERM)

    async def _flush_and_kill(self) -> None:
        await asyncio.gather(self._stack.kill(self._worker()), self._stack.flush())

    async def _flush_and_kill_unseen(self) -> None:
        """The API cannot give its copies, and looks again when another answer may have been given."""
        await asyncio.gather(self._freeze("api"), self._flush_and_kill())

    async def _freeze(self, name: str, seconds: float | None = None) -> None:
        self._stack.signal(name, signal.SIGSTOP)
        try:
            await (self._pause() if seconds is None else asyncio.sleep(seconds))
        finally:
            self._stack.signal(name, signal.SIGCONT)

    async def _break_links(self, mode: str, clients: Sequence[str], server: str) -> None:
        assert self._servers.links is not None
        names = [f"{client}-{server}" for client in clients]
        await self._servers.links.set_mode(mode, *names)
        try:
            await self._pause()
        finally:
            await self._servers.links.set_mode("pass", *names)

    async def _fail_over_killed(self) -> None:
        redis = self._servers.redis
        assert redis is not None
        await until(redis.replicas_are_synced, _SYNC_SECONDS)
        async with redis.failing_over():
            await self._stack.kill(redis.primary)

    async def _fail_over_frozen(self) -> None:
        """The old primary thaws as one that nobody writes to, and is made a replica."""
        redis = self._servers.redis
        assert redis is not None
        await until(redis.replicas_are_synced, _SYNC_SECONDS)
        name = redis.primary
        try:
            async with redis.failing_over():
                self._stack.signal(name, signal.SIGSTOP)
        finally:
            self._stack.signal(name, signal.SIGCONT)

    async def _fill_disk(self) -> None:
        assert self._servers.disk is not None
        await asyncio.to_thread(self._servers.disk.fill)
        try:
            await self._pause()
        finally:
            self._servers.disk.free()

    async def _end_in_temporal(self, how: str) -> None:
        """What an operator's `temporal workflow terminate` or `cancel` does to a running response."""
        running = [answer for answer in self._in_flight() if answer.id is not None and answer.operated is None]
        if not running:
            return
        answer = self._draw.choice(running)
        handle = (await self._servers.temporal()).get_workflow_handle(str(answer.id))
        answer.operated = how
        try:
            await (handle.terminate("campaign") if how == "terminate" else handle.cancel())
        except RPCError:
            # It has ended meanwhile.
            answer.operated = None
