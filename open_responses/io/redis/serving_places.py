"""Places of workers that serve, and standby processes that wait for a place.

What this prevents: a stream without events for the seconds that a Python process takes to start, if every worker is
killed. A standby process has imported everything, has no lease and does not poll. It takes the place of a worker that
dies or leaves. All processes are equal: a worker that restarts finds no free place, and stands by.

One serving process too many does no harm, one too few does. In doubt, a process takes a place.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from open_responses.io.redis import key_names
from open_responses.io.redis.client import PubSub, Redis, RedisDown

log = structlog.get_logger(__name__)

FREED = "place"
_LOOKS_PER_LEASE = 8
_TTL_SECONDS = 24 * 3600
# No worker could renew its lease during an outage of Redis. Right after it, only an announced death counts.
_PATIENT_SECONDS = 3600
_TAKE = """
local leases, places = KEYS[1], KEYS[2]
local me, wanted, lease, force, ttl = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local living, dead = 0, 0
for _, worker in ipairs(redis.call('SMEMBERS', places)) do
    local renewed = redis.call('ZSCORE', leases, worker)
    if not renewed then
        redis.call('SREM', places, worker)
    elseif tonumber(renewed) > now - lease then
        living = living + 1
    else
        dead = dead + 1
    end
end
if living >= wanted then return 'full' end
if dead == 0 and force == '0' then return 'short' end
redis.call('SADD', places, me)
redis.call('EXPIRE', places, ttl)
redis.call('ZADD', leases, now, me)
redis.call('EXPIRE', leases, ttl)
return 'taken'
"""


@dataclass(frozen=True, slots=True)
class Places:
    """The places of this version's workers: `wanted` of them. With None, each process serves and none stands by."""

    redis: Redis
    worker_id: str
    version: str
    wanted: int | None
    lease_seconds: float

    async def wait(self, stopping: asyncio.Event, *, standing_by: Callable[[], None] = lambda: None) -> float | None:
        """Wait until this process has a place. If Redis cannot be reached at the start, the process serves at once.

        Args:
            stopping: Ends the wait.
            standing_by: Called when the process stands by.

        Returns:
            The time from which on Redis has answered without a break (`time.monotonic()`); None after a shutdown, or if
            it is not known.
        """
        if self.wanted is None:
            return None
        try:
            if await self._take(force=True, lease_seconds=self.lease_seconds) == "taken":
                return None
        except RedisDown as error:
            log.warning("place_not_known", reason=str(error))
            return None
        log.info("worker_stands_by", worker=self.worker_id)
        standing_by()
        return await self._stand_by(stopping)

    async def leave(self) -> None:
        """Free the place, before the worker hands its work over, so that a standby process can begin at once."""
        if self.wanted is None:
            return
        with contextlib.suppress(*RedisDown):
            await self.redis.srem(key_names.places(self.version), self.worker_id)
            await self.redis.publish(key_names.CONTROL, FREED)

    async def _stand_by(self, stopping: asyncio.Event) -> float | None:
        answered_since = time.monotonic()
        while not stopping.is_set():
            try:
                async with self.redis.pubsub(ignore_subscribe_messages=True) as control:
                    await control.subscribe(key_names.CONTROL)
                    if await self._take_when_free(control, answered_since, stopping):
                        return answered_since
            except RedisDown:
                await asyncio.sleep(self.lease_seconds / _LOOKS_PER_LEASE)
                answered_since = time.monotonic()
        return None

    async def _take_when_free(self, control: PubSub, answered_since: float, stopping: asyncio.Event) -> bool:
        """Whether this process has a place now. False after a shutdown."""
        short_since, is_freed = float("inf"), False
        while not stopping.is_set():
            now = time.monotonic()
            is_patient = now - answered_since < 2 * self.lease_seconds
            # After a flush there are no leases until they are renewed, which looks like few living workers and no dead
            # one.
            lasts = now - short_since >= 2 * self.lease_seconds
            found = await self._take(
                force=is_freed or lasts,
                lease_seconds=_PATIENT_SECONDS if is_patient else self.lease_seconds,
            )
            if found == "taken":
                log.info("worker_takes_a_place", worker=self.worker_id)
                return True
            short_since = min(short_since, now) if found == "short" else float("inf")
            message = await control.get_message(timeout=self.lease_seconds / _LOOKS_PER_LEASE)
            is_freed = message is not None and message["data"] == FREED.encode()
        return False

    async def _take(self, *, force: bool, lease_seconds: float) -> str:
        taken: bytes = await self.redis.eval(
            _TAKE,
            2,
            key_names.LEASES,
            key_names.places(self.version),
            self.worker_id,
            str(self.wanted),
            str(int(lease_seconds * 1000)),
            str(int(force)),
            str(_TTL_SECONDS),
        )
        return taken.decode()
