"""Finds workers whose lease has expired, and activities of workers that have no lease at all.

What this prevents: two workers that take over at once; a dead worker whose list is lost because the worker that took it
over died too; a living worker whose tools run twice because another worker read the leases a moment too early; and a
worker that comes back during its takeover, and loses what it begins from then on.

Another worker can continue after each step: check and claim in one script, take over, and only then remove lease and
list. A claim is void as soon as the lease of the claiming worker expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import structlog

from open_responses.io.metrics import recording as metrics
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.redis.leases import RENEWALS_PER_LEASE, Lease, Running
from open_responses.io.redis.takeovers import MOST_RESPONSES, Takeover, note_takeover
from open_responses.io.temporal.client import TemporalDown

log = structlog.get_logger(__name__)

IsDead: TypeAlias = Callable[[str], Awaitable[bool]]
IsOrphaned: TypeAlias = Callable[[str], Awaitable[bool]]
TakeOver: TypeAlias = Callable[[Mapping[str, list[Running]], IsDead], Awaitable[Mapping[str, Sequence[str]]]]


@dataclass(slots=True)
class OrphanSearch:
    """A search for activities of workers that died just before a flush of Redis, in some rounds.

    Each workflow is read once: an activity that Temporal dispatches later goes to a worker with a lease, and so does
    any of a workflow that started later. On a busy server the others would be thousands of reads.

    Attributes:
        started_before: Only workflows that started before this are looked at, in Unix seconds.
        read: The workflows that an earlier round has read.
    """

    started_before: float
    read: set[str] = field(default_factory=set)


FindOrphans: TypeAlias = Callable[[IsOrphaned, OrphanSearch], Awaitable[None]]

# Temporal's list of running workflows is late, by seconds on a busy server: one look soon after a flush may miss an
# orphan.
_SEARCH_AGAIN_SECONDS = (5.0, 12.0, 30.0)
# An outage may keep every worker from renewing its lease for this long. A death that was announced (score 0) is acted
# on at once.
_PATIENT_SECONDS = 3600
_CLAIMS_TTL_SECONDS = 24 * 3600
_EXPIRED = """
local now = redis.call('TIME')
local limit = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(ARGV[1])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', limit)
"""
_CLAIM = """
local leases, running, claims = KEYS[1], KEYS[2], KEYS[3]
local dead, silence, claimer, lease, ttl = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local renewed = redis.call('ZSCORE', leases, dead)
if not renewed or tonumber(renewed) > now - silence then return false end
local other = redis.call('HGET', claims, dead)
if other and other ~= claimer then
    local beat = redis.call('ZSCORE', leases, other)
    if beat and tonumber(beat) > now - lease then return false end
end
redis.call('HSET', claims, dead, claimer)
redis.call('EXPIRE', claims, ttl)
return redis.call('HGETALL', running)
"""
_REMOVE = """
local leases, running, claims = KEYS[1], KEYS[2], KEYS[3]
local dead, silence, claimer = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if redis.call('HGET', claims, dead) ~= claimer then return 0 end
redis.call('HDEL', claims, dead)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local renewed = redis.call('ZSCORE', leases, dead)
if renewed and tonumber(renewed) > now - silence then return 0 end
redis.call('ZREM', leases, dead)
redis.call('DEL', running)
return 1
"""


class DeadWorkerDetector:
    """Checks the leases periodically, and calls `take_over` and `find_orphans` for its findings.

    A takeover of a living worker costs a repetition and no correctness: the log fences the late writer, and Temporal
    rejects its completion.
    """

    def __init__(self, redis: Redis, lease: Lease, take_over: TakeOver, find_orphans: FindOrphans) -> None:
        self._redis = redis
        self._lease = lease
        self._take_over = take_over
        self._find_orphans = find_orphans
        self._begun = 0.0
        self._searches = 0
        self._search = OrphanSearch(0.0)
        self._announced = asyncio.Event()
        self._expired = redis.register_script(_EXPIRED)
        self._claim = redis.register_script(_CLAIM)
        self._remove = redis.register_script(_REMOVE)

    def look_now(self) -> None:
        """Start the next round now: a worker's death was announced."""
        self._announced.set()

    async def run(self) -> None:
        """Check the leases until cancelled."""
        interval = self._lease.seconds / RENEWALS_PER_LEASE
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._announced.wait()
            self._announced.clear()
            try:
                await self.look()
                await self._look_behind_a_flush()
            except RedisDown:
                continue

    async def look(self) -> None:
        """One round: claim the workers whose leases have expired, take them over, and remove them. Raises RedisDown.

        All are taken over together: a node that dies takes several workers along, and what they had listed waits for
        no search for what one of them had not.
        """
        is_patient = self._lease.trusted_for < 2 * self._lease.seconds
        silence_ms = int((_PATIENT_SECONDS if is_patient else self._lease.seconds) * 1000)
        dead: dict[str, list[Running]] = {}
        for worker in await self._expired(keys=[key_names.LEASES], args=[silence_ms]):
            worker_id = worker.decode()
            if worker_id == self._lease.worker_id:
                continue
            running = await self.claim(worker_id, silence_ms)
            if running is None:
                continue
            log.warning("worker_lost", worker=worker_id, activities=len(running))
            dead[worker_id] = running
        if not dead:
            return

        async def is_dead(worker_id: str) -> bool:
            silence = await self._silence_of(worker_id)
            return silence is None or silence * 1000 >= silence_ms

        try:
            unlisted = await self._take_over(dead, is_dead)
        except TemporalDown as error:
            # The claims and the leases stay, so the next round takes over.
            log.warning("takeover_postponed", workers=list(dead), reason=str(error))
            return
        for worker_id, running in dead.items():
            silence = await self._silence_of(worker_id)
            metrics.worker_taken_over(len(running), silence)
            responses = [*(activity.workflow_id for activity in running), *unlisted[worker_id]]
            await self._note(worker_id, responses, silence)
            await self.remove(worker_id, silence_ms)

    async def _note(self, worker_id: str, responses: Sequence[str], silence: float | None) -> None:
        """Leave an entry for operators. `responses` has one for each activity."""
        some, by = sorted(set(responses))[:MOST_RESPONSES], self._lease.worker_id
        await note_takeover(self._redis, Takeover(time.time(), worker_id, by, len(responses), some, silence))

    async def _silence_of(self, worker_id: str) -> float | None:
        """The seconds since that worker's last renewal; None if its death was announced, or it has no lease."""
        renewed = await self._redis.zscore(key_names.LEASES, worker_id)
        seconds, microseconds = await self._redis.time()
        return seconds + microseconds / 1e6 - renewed / 1000 if renewed else None

    async def claim(self, worker_id: str, silence_ms: int) -> list[Running] | None:
        """Claim a worker. Returns its activities; None if it has renewed its lease, or another worker has the claim."""
        me = self._lease.worker_id
        flat = await self._claim(
            keys=[key_names.LEASES, key_names.running(worker_id), key_names.CLAIMS],
            args=[worker_id, silence_ms, me, int(self._lease.seconds * 1000), _CLAIMS_TTL_SECONDS],
        )
        if flat is None:
            return None
        return [Running.parse(token, details) for token, details in zip(flat[::2], flat[1::2], strict=True)]

    async def remove(self, worker_id: str, silence_ms: int) -> None:
        """Remove the lease and the list of a worker that was taken over, unless it has renewed its lease."""
        await self._remove(
            keys=[key_names.LEASES, key_names.running(worker_id), key_names.CLAIMS],
            args=[worker_id, silence_ms, self._lease.worker_id],
        )

    async def is_orphaned(self, worker_id: str) -> bool:
        """Whether that worker holds no lease at this moment. One whose lease has expired is claimed instead."""
        return await self._redis.zscore(key_names.LEASES, worker_id) is None

    async def _look_behind_a_flush(self) -> None:
        """A worker that died just before a flush has left no lease to expire; Temporal still names it."""
        begun = self._lease.begun_at
        if begun != self._begun:
            self._begun, self._searches = begun, 0
            # A worker that lived through the flush has its lease again after a part of this.
            flushed_at = time.time() - (time.monotonic() - begun)
            self._search = OrphanSearch(flushed_at + self._lease.seconds)
        due = [2 * self._lease.seconds, *_SEARCH_AGAIN_SECONDS]
        if self._searches == len(due) or time.monotonic() - begun < due[self._searches]:
            return
        await self._find_orphans(self.is_orphaned, self._search)
        self._searches += 1
        if self._searches == len(due):
            self._search.read.clear()
