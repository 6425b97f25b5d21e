"""Who is alive, and what did the dead run?

Temporal learns of a dead worker from missing heartbeats, after a minute. A client that watches an answer stop cannot
wait for that. Each worker therefore renews a lease in Redis and lists what it runs; whoever finds a lease expired
claims it, once, and hands those activities over.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import redis as sync_redis
import structlog

from open_responses.io import keys
from open_responses.io.event_log import Appender
from open_responses.io.redis import Redis, RedisDown, connect

log = structlog.get_logger(__name__)

_RENEWALS_PER_LEASE = 4
_RUNNING_TTL_SECONDS = 24 * 3600
# Temporal's list of what runs lags behind, on a busy server by seconds: one look soon after a flush may miss an orphan.
_SEARCH_AGAIN_SECONDS = (5.0, 12.0, 30.0)
_RENEW = """
local now = redis.call('TIME')
local added = redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
return {added, redis.call('HLEN', KEYS[2])}
"""
_EXPIRED = """
local now = redis.call('TIME')
local limit = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', limit)
"""
_CLAIM = """
local score = redis.call('ZSCORE', KEYS[1], ARGV[1])
local now = redis.call('TIME')
if not score then return false end
if tonumber(score) > now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(ARGV[2]) then return false end
redis.call('ZREM', KEYS[1], ARGV[1])
local running = redis.call('HGETALL', KEYS[2])
redis.call('DEL', KEYS[2])
return running
"""


@dataclass(frozen=True, slots=True)
class Running:
    """An activity as Temporal names it."""

    workflow_id: str
    run_id: str
    activity_id: str

    @property
    def token(self) -> str:
        return f"{self.workflow_id} {self.run_id} {self.activity_id}"

    @classmethod
    def parse(cls, token: bytes) -> Running:
        workflow_id, run_id, activity_id = token.decode().split(" ")
        return cls(workflow_id, run_id, activity_id)


class Lease:
    """This worker's lease. Renewed by a thread of its own: a busy event loop must not look like a dead process."""

    def __init__(self, redis_url: str, appender: Appender, worker_id: str, seconds: float) -> None:
        self.worker_id = worker_id
        self.seconds = seconds
        self._url = redis_url
        self._appender = appender
        self._running: dict[str, Running] = {}
        self._stopping = threading.Event()
        self._healthy_since = float("inf")
        self.begun_at = float("inf")
        """When the lease was last written anew: at the start, and after each flush of Redis."""
        self._thread = threading.Thread(target=self._renew_forever, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Give the lease up in good order: nothing of ours is running any more."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 2.0)

    @property
    def trusted_for(self) -> float:
        """Seconds for which Redis has answered without a break. Shortly after an outage all leases look expired."""
        return time.monotonic() - self._healthy_since

    def began(self, running: Running) -> None:
        """List an activity. Goes out with the next append, ahead of the activity's first event."""
        self._running[running.token] = running
        self._appender.command("HSET", keys.running(self.worker_id), running.token, "1")

    def ended(self, running: Running) -> None:
        self._running.pop(running.token, None)
        self._appender.command("HDEL", keys.running(self.worker_id), running.token)

    def _renew_forever(self) -> None:
        client = sync_redis.Redis.from_url(self._url, socket_timeout=self.seconds, socket_connect_timeout=self.seconds)
        renew = client.register_script(_RENEW)
        running_key = keys.running(self.worker_id)
        while not self._stopping.wait(self.seconds / _RENEWALS_PER_LEASE):
            try:
                added, listed = renew(keys=[keys.LEASES, running_key], args=[self.worker_id])
                self._relist(client, running_key, int(listed))
                if added:
                    self.begun_at = time.monotonic()
            except sync_redis.RedisError:
                self._healthy_since = float("inf")
                continue
            self._healthy_since = min(self._healthy_since, time.monotonic())
        with contextlib.suppress(sync_redis.RedisError):
            client.zrem(keys.LEASES, self.worker_id)
            client.delete(running_key)
        client.close()

    def _relist(self, client: sync_redis.Redis, key: str, listed: int) -> None:
        """After a flush the list is short; write it again. The key outlives its worker by a day at most."""
        tokens = list(self._running)
        if listed < len(tokens):
            client.hset(key, mapping=dict.fromkeys(tokens, "1"))
        if tokens:
            client.expire(key, _RUNNING_TTL_SECONDS)


class Reaper:
    """Looks for expired leases and hands their activities to `bury`.

    Being wrong is harmless: the log fences the late writer, and Temporal refuses its completion.
    """

    def __init__(
        self,
        redis: Redis,
        lease: Lease,
        bury: Callable[[str, list[Running]], Awaitable[None]],
        search: Callable[[set[str]], Awaitable[None]],
    ) -> None:
        self._redis = redis
        self._lease = lease
        self._bury = bury
        self._search = search
        self._begun = 0.0
        self._searches = 0
        self._told = asyncio.Event()
        self._expired = redis.register_script(_EXPIRED)
        self._claim = redis.register_script(_CLAIM)

    def look_now(self) -> None:
        """Somebody saw a worker die: do not wait for the next round."""
        self._told.set()

    async def run(self) -> None:
        interval = self._lease.seconds / _RENEWALS_PER_LEASE
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), interval)
            self._told.clear()
            try:
                await self._look()
                await self._look_behind_a_flush()
            except RedisDown:
                continue

    async def _look_behind_a_flush(self) -> None:
        """A worker that died just before a flush has left no lease to expire; Temporal still names it."""
        begun = self._lease.begun_at
        if begun != self._begun:
            self._begun, self._searches = begun, 0
        due = [2 * self._lease.seconds, *_SEARCH_AGAIN_SECONDS]
        if self._searches == len(due) or time.monotonic() - begun < due[self._searches]:
            return
        self._searches += 1
        members: list[bytes] = await self._redis.zrange(keys.LEASES, 0, -1)  # type: ignore[assignment]
        await self._search({member.decode() for member in members})

    async def _look(self) -> None:
        # Only an announced death (score 0) is believed at once; silence counts after a full, unbroken lease of ours.
        patient = self._lease.trusted_for < 2 * self._lease.seconds
        silence_ms = int((3600 if patient else self._lease.seconds) * 1000)
        for worker in await self._expired(keys=[keys.LEASES], args=[silence_ms]):
            worker_id = worker.decode()
            if worker_id == self._lease.worker_id:
                continue
            flat = await self._claim(keys=[keys.LEASES, keys.running(worker_id)], args=[worker_id, silence_ms])
            if flat is not None:
                running = [Running.parse(token) for token in flat[::2]]
                log.warning("worker_lost", worker=worker_id, activities=len(running))
                await self._bury(worker_id, running)


async def announce_death(redis_url: str, worker_id: str) -> None:
    """A supervisor saw this worker's process end: its lease is void now. Raises ConnectionError when Redis is away."""
    client = connect(redis_url)
    try:
        pipe = client.pipeline(transaction=False)
        pipe.execute_command("ZADD", keys.LEASES, "XX", 0, worker_id)
        pipe.publish(keys.CONTROL, f"expired {worker_id}")
        await pipe.execute()
    except RedisDown as error:
        raise ConnectionError(str(error)) from error
    finally:
        await client.aclose()
