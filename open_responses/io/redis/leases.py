"""Worker leases: each worker renews one in Redis, and lists the activities that it runs.

Temporal detects a dead worker by missing heartbeats, after a minute, for which a client should not wait. A worker that
finds an expired lease completes the listed activities as lost (`dead_worker_detector.py`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Protocol

import orjson
import redis as sync_redis
import structlog

from open_responses.io.metrics import recording as metrics
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown, connect

log = structlog.get_logger(__name__)

RENEWALS_PER_LEASE = 4
_TTL_SECONDS = 24 * 3600
"""The time to live of the leases and of the lists of activities, from the last renewal of any worker."""
# After this, a worker that cannot reach Redis polls without a lease: other workers cannot read leases then, either.
_LONGEST_FIRST_RENEWAL_SECONDS = 5.0
_LIVING_SECONDS = 5
_RENEW = """
local now = redis.call('TIME')
local added = redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return {added, redis.call('HLEN', KEYS[2])}
"""
# One script: a process that died between two commands would leave a list without a time to live.
_LIST = """
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""
_ANNOUNCE = """
local announced = {}
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    if member == ARGV[1] or string.sub(member, 1, #ARGV[1] + 1) == ARGV[1] .. ':' then
        redis.call('ZADD', KEYS[1], 0, member)
        redis.call('PUBLISH', ARGV[2], 'expired ' .. member)
        table.insert(announced, member)
    end
end
return announced
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A running activity, with Temporal's names for it.

    `kind` is the type, and `attempt` the number of the attempt, from 1. `task_token` identifies the attempt: Temporal
    rejects its completion once another attempt has begun.
    """

    workflow_id: str
    run_id: str
    activity_id: str
    kind: str = ""
    attempt: int = 1
    task_token: bytes = b""

    @property
    def token(self) -> str:
        """The field in the worker's list."""
        return f"{self.workflow_id} {self.run_id} {self.activity_id}"

    @property
    def details(self) -> bytes:
        """The field's value."""
        return orjson.dumps(
            {"kind": self.kind, "attempt": self.attempt, "task_token": base64.b64encode(self.task_token).decode()}
        )

    @classmethod
    def parse(cls, token: bytes, details: bytes) -> Running:
        """Parse an entry of a worker's list. Workers of earlier versions wrote `1` for the details."""
        workflow_id, run_id, activity_id = token.decode().split(" ")
        known = orjson.loads(details)
        if not isinstance(known, dict):
            return cls(workflow_id, run_id, activity_id)
        task_token = base64.b64decode(known["task_token"])
        return cls(workflow_id, run_id, activity_id, known["kind"], known["attempt"], task_token)


def new_worker_id(name: str) -> str:
    """A worker id that no process had before.

    Host name and process id do not suffice. In a container the process id is 1 and the host name survives a restart, so
    a restarted worker would renew the lease of the process before it, whose activities would never be taken over.
    """
    return f"{name}:{secrets.token_hex(4)}"


class Commands(Protocol):
    """Sends commands to Redis in order, with the next pipeline. The appender of the event log implements it."""

    def command(self, *parts: bytes | str | int) -> None:
        """Send a command with the next pipeline."""


class Lease:
    """This worker's lease. A thread of its own renews it: a busy event loop must not look like a dead process."""

    def __init__(self, redis_url: str, appender: Commands, name: str, seconds: float) -> None:
        self.worker_id = new_worker_id(name)
        self.seconds = seconds
        self._url = redis_url
        self._appender = appender
        self._running: dict[str, Running] = {}
        self._stopping = threading.Event()
        self._is_held = threading.Event()
        self._healthy_since = float("inf")
        self._place: str | None = None
        self.begun_at = float("inf")
        """The time at which the lease was last created: at the start, and after each flush of Redis."""
        self._thread = threading.Thread(target=self._renew_forever, name="lease", daemon=True)

    async def start(self, *, place: str | None = None, answered_since: float | None = None) -> None:
        """Take the lease, and renew it from then on. A worker polls only after that.

        An activity of a worker without a lease counts as orphaned, and would run twice.

        Args:
            place: The set of serving workers, in which the worker's membership is renewed as well.
            answered_since: The time from which on Redis has answered without a break (`time.monotonic()`).
        """
        self._place = place
        if answered_since is not None:
            self._healthy_since = answered_since
        self._thread.start()
        if not await asyncio.to_thread(self._is_held.wait, _LONGEST_FIRST_RENEWAL_SECONDS):
            log.warning("lease_not_held", worker=self.worker_id, reason="Redis does not answer")

    async def stop(self) -> None:
        """Release the lease at a clean shutdown, when none of the worker's activities runs any more."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 2.0)

    @property
    def trusted_for(self) -> float:
        """The seconds for which Redis has answered without a break. Right after an outage all leases look expired."""
        return time.monotonic() - self._healthy_since

    def began(self, running: Running) -> None:
        """List an activity. The command is sent with the next append, before the activity's first event."""
        self._running[running.token] = running
        key = key_names.running(self.worker_id)
        self._appender.command("EVAL", _LIST, 1, key, _TTL_SECONDS, running.token, running.details)

    def ended(self, running: Running) -> None:
        """Remove an activity from the list. A later attempt at the same activity stays listed."""
        if self._running.get(running.token) != running:
            # This worker runs a later attempt at the same activity, which has replaced the entry.
            return
        del self._running[running.token]
        self._appender.command("HDEL", key_names.running(self.worker_id), running.token)

    def _renew_forever(self) -> None:
        client = sync_redis.Redis.from_url(self._url, socket_timeout=self.seconds, socket_connect_timeout=self.seconds)
        renew = client.register_script(_RENEW)
        running_key = key_names.running(self.worker_id)
        while not self._stopping.is_set():
            try:
                added, listed = renew(keys=[key_names.LEASES, running_key], args=[self.worker_id, _TTL_SECONDS])
                self._relist(client, running_key, int(listed))
                self._keep_place(client)
                if added or self.begun_at == float("inf"):
                    # A process that took a place got its lease in the same step, so its first renewal adds none.
                    self.begun_at = time.monotonic()
                self._is_held.set()
                self._healthy_since = min(self._healthy_since, time.monotonic())
                metrics.dependency_is_up("redis", True)
            except sync_redis.RedisError:
                self._healthy_since = float("inf")
                metrics.dependency_is_up("redis", False)
            self._stopping.wait(self.seconds / RENEWALS_PER_LEASE)
        with contextlib.suppress(sync_redis.RedisError):
            client.zrem(key_names.LEASES, self.worker_id)
            client.delete(running_key)
        client.close()

    def leave_place(self) -> None:
        """Stop renewing the worker's place: another process can take it. The lease lasts until all work ends."""
        self._place = None

    def _keep_place(self, client: sync_redis.Redis) -> None:
        """Renew the worker's place, which a flush may have removed."""
        place = self._place
        if place is not None:
            pipe = client.pipeline(transaction=True)
            pipe.sadd(place, self.worker_id)
            pipe.expire(place, _TTL_SECONDS)
            pipe.execute()

    def _relist(self, client: sync_redis.Redis, key: str, listed: int) -> None:
        """Write the list of activities again, if a flush has removed it."""
        running = list(self._running.values())
        if listed < len(running):
            pipe = client.pipeline(transaction=True)
            pipe.hset(key, mapping={one.token: one.details for one in running})
            pipe.expire(key, _TTL_SECONDS)
            pipe.execute()


async def announce_death(redis_url: str, name: str) -> list[str]:
    """Void the leases of the workers of this name, whose process has ended, and start their takeover.

    A supervisor calls this. It gives each process a name of its own (`OPEN_RESPONSES_WORKER_ID`).

    Returns:
        The ids of the workers.

    Raises:
        ConnectionError: Redis cannot be reached.
    """
    client = connect(redis_url)
    try:
        announced = await client.eval(_ANNOUNCE, 1, key_names.LEASES, name, key_names.CONTROL)
    except RedisDown as error:
        raise ConnectionError(str(error)) from error
    finally:
        await client.aclose()
    return [worker_id.decode() for worker_id in announced]


async def count_living_workers(redis: Redis) -> int:
    """The workers that have renewed their lease within the last five seconds. Raises RedisDown."""
    seconds, _ = await redis.time()
    living: int = await redis.zcount(key_names.LEASES, (seconds - _LIVING_SECONDS) * 1000, "+inf")
    return living


async def living_workers(redis: Redis) -> dict[str, tuple[float, int]]:
    """Worker id -> the age of its lease in seconds, and the number of activities that it runs.

    A worker that died unseen is among them until another has taken its activities over. Raises RedisDown.
    """
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.zrange(key_names.LEASES, 0, -1, withscores=True)
    (seconds, microseconds), leases = await pipe.execute()
    now = seconds + microseconds / 1e6
    workers = [(worker.decode(), renewed) for worker, renewed in leases if renewed]
    pipe = redis.pipeline(transaction=False)
    for worker, _ in workers:
        pipe.hlen(key_names.running(worker))
    running = await pipe.execute() if workers else []
    return {
        worker: (round(max(0.0, now - renewed / 1000), 3), count)
        for (worker, renewed), count in zip(workers, running, strict=True)
    }
