"""Places for workers that serve, and processes that stand by for one.

What this prevents: with every worker killed, a client's stream is silent for as long as a Python process needs to
start, seconds. A process that stands by has imported everything, holds no lease and polls nothing; it takes the place
of a worker that died or leaves. All processes are alike: the one that comes back finds no place, and stands by.

One process too many that serves is harmless, one too few is not: in doubt a place is taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

import structlog

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown

log = structlog.get_logger(__name__)

FREED = "place"
_LOOKS_PER_LEASE = 8
_TTL_SECONDS = 24 * 3600
# A silence of Redis keeps all workers from renewing; only an announced death counts shortly after it.
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
    """`wanted` processes of this version serve at a time; None: each does, and none stands by."""

    redis: Redis
    worker_id: str
    version: str
    wanted: int | None
    lease_seconds: float

    async def wait(self, stopping: asyncio.Event) -> float | None:
        """Wait until this process is to serve.

        Returns since when Redis has answered without a break (`time.monotonic()`), or None after a shutdown or where
        that is not known. A Redis that is away at the start keeps nobody from serving.
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
        return await self._stand_by(stopping)

    async def leave(self) -> None:
        """Free the place before the work is handed over: the process that stands by begins at once."""
        if self.wanted is None:
            return
        with contextlib.suppress(*RedisDown):
            await self.redis.srem(key_names.places(self.version), self.worker_id)
            await self.redis.publish(key_names.CONTROL, FREED)

    async def _stand_by(self, stopping: asyncio.Event) -> float | None:
        answered_since, short_since = time.monotonic(), float("inf")
        while not stopping.is_set():
            try:
                async with self.redis.pubsub(ignore_subscribe_messages=True) as control:
                    await control.subscribe(key_names.CONTROL)
                    is_freed = False
                    while not stopping.is_set():
                        now = time.monotonic()
                        is_patient = now - answered_since < 2 * self.lease_seconds
                        # After a flush the leases are gone until they are renewed: no dead worker, and few living ones.
                        lasts = now - short_since >= 2 * self.lease_seconds
                        found = await self._take(
                            force=is_freed or lasts,
                            lease_seconds=_PATIENT_SECONDS if is_patient else self.lease_seconds,
                        )
                        if found == "taken":
                            log.info("worker_takes_a_place", worker=self.worker_id)
                            return answered_since
                        short_since = min(short_since, now) if found == "short" else float("inf")
                        message = await control.get_message(timeout=self.lease_seconds / _LOOKS_PER_LEASE)
                        is_freed = message is not None and message["data"] == FREED.encode()
            except RedisDown:
                answered_since, short_since = float("inf"), float("inf")
                await asyncio.sleep(self.lease_seconds / _LOOKS_PER_LEASE)
                answered_since = time.monotonic()
        return None

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
