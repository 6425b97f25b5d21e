"""Counts of the requests that the server refused in the last two days, by tenant, code and endpoint.

What this prevents: an operator who has to search the logs of every API process for the tenants that a limit or a wrong
key stops. Refusals are counted, not listed, so a client that sends a thousand wrong requests a second writes one field.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown

HOURS_KEPT = 48
_HOUR_SECONDS = 3600
_TTL_SECONDS = (HOURS_KEPT + 1) * _HOUR_SECONDS
# Kinds that a process has counted and not written. Tenants, codes and endpoints are bounded; an outage is not.
_MOST_PENDING = 2_000
# Kinds of one hour. Tenants are as many as there are keys.
_MOST_WRITTEN = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """Refusals of one kind are counted together. `tenant` is None for a request without a valid key."""

    tenant: str | None
    code: str
    status: int
    path: str


@dataclass(frozen=True, slots=True)
class Refused:
    """How many refusals there were, when the last one was (Unix seconds), and its request's id."""

    count: int
    last_at: float
    last_request_id: str | None

    def plus(self, other: Refused) -> Refused:
        """Both, with the later last one."""
        last = max(self, other, key=lambda one: one.last_at)
        return Refused(self.count + other.count, last.last_at, last.last_request_id)


class Refusals:
    """Counts in memory, and adds the counts to those of all processes once a second. An outage of Redis delays that."""

    def __init__(self, redis: Redis, *, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._clock = clock
        self._pending: dict[Kind, Refused] = {}

    def note(self, kind: Kind, request_id: str | None) -> None:
        """Count one refusal."""
        one = Refused(1, self._clock(), request_id)
        known = self._pending.get(kind)
        if known is not None or len(self._pending) < _MOST_PENDING:
            self._pending[kind] = one if known is None else known.plus(one)

    async def write(self) -> None:
        """Add what was counted since the last call. Raises RedisDown, and keeps the counts then."""
        if not self._pending:
            return
        hour = int(self._clock() // _HOUR_SECONDS)
        counts, lasts = key_names.refusals(hour), key_names.refusals_last(hour)
        if await self._redis.hlen(counts) > _MOST_WRITTEN:
            self._pending.clear()
            return
        pending, self._pending = self._pending, {}
        pipe = self._redis.pipeline(transaction=True)
        for kind, refused in pending.items():
            field = orjson.dumps([kind.tenant, kind.code, kind.status, kind.path])
            pipe.hincrby(counts, field, refused.count)
            pipe.hset(lasts, field, orjson.dumps([refused.last_at, refused.last_request_id]))
        pipe.expire(counts, _TTL_SECONDS)
        pipe.expire(lasts, _TTL_SECONDS)
        try:
            await pipe.execute()
        except RedisDown:
            for kind, refused in pending.items():
                known = self._pending.get(kind)
                self._pending[kind] = refused if known is None else known.plus(refused)
            raise

    async def found(self, hours: int) -> Mapping[Kind, Refused]:
        """The refusals of all processes in this hour and the hours before it, `hours` in all. Raises RedisDown."""
        with contextlib.suppress(*RedisDown):
            await self.write()
        this_hour = int(self._clock() // _HOUR_SECONDS)
        pipe = self._redis.pipeline(transaction=False)
        for hour in range(this_hour - hours + 1, this_hour + 1):
            pipe.hgetall(key_names.refusals(hour))
            pipe.hgetall(key_names.refusals_last(hour))
        read = await pipe.execute()
        found: dict[Kind, Refused] = {}
        for counts, lasts in zip(read[::2], read[1::2], strict=True):
            for field, count in counts.items():
                kind = Kind(*orjson.loads(field))
                last_at, request_id = orjson.loads(lasts.get(field, b"[0,null]"))
                refused = Refused(int(count), last_at, request_id)
                known = found.get(kind)
                found[kind] = refused if known is None else known.plus(refused)
        return found
