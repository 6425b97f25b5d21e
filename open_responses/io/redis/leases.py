"""Worker leases: each worker renews one in Redis, and lists the activities that it runs.

Temporal notices a dead worker by missing heartbeats, after a minute. A client that watches an answer stop cannot wait
for that: another worker that finds a lease expired completes the listed activities as lost (`dead_worker_detector.py`).
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

from open_responses.io.redis import key_names
from open_responses.io.redis.client import RedisDown, connect

log = structlog.get_logger(__name__)

RENEWALS_PER_LEASE = 4
_TTL_SECONDS = 24 * 3600
"""Of the leases, and of the lists of what runs: they outlive the last worker's last renewal by a day."""
# A worker that cannot reach Redis polls all the same: then no other worker can look for leases either.
_LONGEST_FIRST_RENEWAL_SECONDS = 5.0
_RENEW = """
local now = redis.call('TIME')
local added = redis.call('ZADD', KEYS[1], now[1] * 1000 + math.floor(now[2] / 1000), ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return {added, redis.call('HLEN', KEYS[2])}
"""
# One command: a process that dies between two leaves a list without a time to live.
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
    """An activity as Temporal names it. `kind` is its type, `attempt` Temporal's count of its runs, this one included.

    `task_token` names that one attempt: its completion is refused once another attempt has begun.
    """

    workflow_id: str
    run_id: str
    activity_id: str
    kind: str = ""
    attempt: int = 1
    task_token: bytes = b""

    @property
    def token(self) -> str:
        """The field of the worker's list."""
        return f"{self.workflow_id} {self.run_id} {self.activity_id}"

    @property
    def details(self) -> bytes:
        """The field's value."""
        return orjson.dumps(
            {"kind": self.kind, "attempt": self.attempt, "task_token": base64.b64encode(self.task_token).decode()}
        )

    @classmethod
    def parse(cls, token: bytes, details: bytes) -> Running:
        """What a worker has listed. Workers of earlier versions wrote `1` for the details."""
        workflow_id, run_id, activity_id = token.decode().split(" ")
        known = orjson.loads(details)
        if not isinstance(known, dict):
            return cls(workflow_id, run_id, activity_id)
        task_token = base64.b64decode(known["task_token"])
        return cls(workflow_id, run_id, activity_id, known["kind"], known["attempt"], task_token)


def new_worker_id(name: str) -> str:
    """A name that no process had before.

    Host name and process id do not suffice: in a container the process id is 1 and the host name survives a restart, so
    a restarted worker would renew its predecessor's lease, and that one's activities would not be taken over.
    """
    return f"{name}:{secrets.token_hex(4)}"


class Commands(Protocol):
    """Sends commands to Redis in order, with the next pipeline. The event log's appender does."""

    def command(self, *parts: bytes | str | int) -> None: ...


class Lease:
    """This worker's lease. Renewed by a thread of its own: a busy event loop must not look like a dead process."""

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
        """When the lease was last written anew: at the start, and after each flush of Redis."""
        self._thread = threading.Thread(target=self._renew_forever, name="lease", daemon=True)

    async def start(self, *, place: str | None = None, answered_since: float | None = None) -> None:
        """Hold the lease, and renew it from then on; with it the worker's membership of the set `place`.

        `answered_since` is how long Redis has been watched already, by `time.monotonic()`.

        A worker polls only afterwards: what a worker without a lease runs counts as orphaned, and would run twice.
        """
        self._place = place
        if answered_since is not None:
            self._healthy_since = answered_since
        self._thread.start()
        if not await asyncio.to_thread(self._is_held.wait, _LONGEST_FIRST_RENEWAL_SECONDS):
            log.warning("lease_not_held", worker=self.worker_id, reason="Redis does not answer")

    async def stop(self) -> None:
        """Give the lease up at a clean shutdown, when none of its activities runs any more."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join, 2.0)

    @property
    def trusted_for(self) -> float:
        """Seconds for which Redis has answered without a break. Shortly after an outage all leases look expired."""
        return time.monotonic() - self._healthy_since

    def began(self, running: Running) -> None:
        """List an activity. Goes out with the next append, ahead of the activity's first event."""
        self._running[running.token] = running
        key = key_names.running(self.worker_id)
        self._appender.command("EVAL", _LIST, 1, key, _TTL_SECONDS, running.token, running.details)

    def ended(self, running: Running) -> None:
        if self._running.get(running.token) != running:
            # A later attempt at the same activity, of this worker too, has its place.
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
                    # The first renewal of a process that took a place finds the lease that it took with it.
                    self.begun_at = time.monotonic()
                self._is_held.set()
                self._healthy_since = min(self._healthy_since, time.monotonic())
            except sync_redis.RedisError:
                self._healthy_since = float("inf")
            self._stopping.wait(self.seconds / RENEWALS_PER_LEASE)
        with contextlib.suppress(sync_redis.RedisError):
            client.zrem(key_names.LEASES, self.worker_id)
            client.delete(running_key)
        client.close()

    def leave_place(self) -> None:
        """Another process may serve in this one's stead; the lease lasts until all work has ended."""
        self._place = None

    def _keep_place(self, client: sync_redis.Redis) -> None:
        """Also after a flush."""
        place = self._place
        if place is not None:
            pipe = client.pipeline(transaction=True)
            pipe.sadd(place, self.worker_id)
            pipe.expire(place, _TTL_SECONDS)
            pipe.execute()

    def _relist(self, client: sync_redis.Redis, key: str, listed: int) -> None:
        """After a flush the list is short; write it again."""
        running = list(self._running.values())
        if listed < len(running):
            pipe = client.pipeline(transaction=True)
            pipe.hset(key, mapping={one.token: one.details for one in running})
            pipe.expire(key, _TTL_SECONDS)
            pipe.execute()


async def announce_death(redis_url: str, name: str) -> list[str]:
    """Void the leases of the workers of this name, whose process a supervisor saw end, and have them taken over now.

    The supervisor gives each process a name of its own (`OPEN_RESPONSES_WORKER_ID`). Returns the workers' ids.
    Raises ConnectionError when Redis is away.
    """
    client = connect(redis_url)
    try:
        announced = await client.eval(_ANNOUNCE, 1, key_names.LEASES, name, key_names.CONTROL)
    except RedisDown as error:
        raise ConnectionError(str(error)) from error
    finally:
        await client.aclose()
    return [worker_id.decode() for worker_id in announced]
