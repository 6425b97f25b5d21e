"""A copy of the API keys that were made at run time, for all API processes, and when each key was used last.

Temporal has the keys. Asking it before each request would cost more than the request, and a worker has to answer; so
the processes read this copy, which is compared with Temporal from time to time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from open_responses.api_keys.state import StoredKey
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, script

_STORE = script("redis/api_keys.lua")
# Renewed with each comparison. Where Temporal is away for long, a process that starts then still reads the copy.
_TTL_SECONDS = 30 * 24 * 3600
_USED_TTL_SECONDS = 400 * 24 * 3600
# A process that dies while it reads the keys from Temporal delays the others by this much.
_LOOK_MS = 5_000
_LATER = """
for i = 1, #ARGV - 1, 2 do
    local known = redis.call('HGET', KEYS[1], ARGV[i])
    if not known or tonumber(known) < tonumber(ARGV[i + 1]) then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[#ARGV])
"""


@dataclass(frozen=True, slots=True)
class CopyState:
    """The revision of the copy, and the seconds since it was compared with Temporal."""

    revision: int
    age: float


class ApiKeyCopy:
    """The copy in Redis. Each method raises RedisError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def state(self) -> CopyState | None:
        """None if Redis has no copy."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key_names.API_KEYS, "revision", "checked")
            pipe.time()
            (revision, checked), (seconds, microseconds) = await pipe.execute()
        if revision is None:
            return None
        return CopyState(int(revision), seconds + microseconds / 1e6 - int(checked or 0) / 1000)

    async def read(self) -> tuple[int, list[StoredKey]] | None:
        """The revision and the keys; None if Redis has no copy."""
        revision, keys = await self._redis.hmget(key_names.API_KEYS, ["revision", "keys"])
        if revision is None or keys is None:
            return None
        return int(revision), [StoredKey.model_validate(key) for key in orjson.loads(keys)]

    async def now(self) -> int:
        """Redis' clock, in milliseconds."""
        seconds, microseconds = await self._redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def store(self, revision: int, keys: Sequence[StoredKey], *, began: int) -> None:
        """Store what was read from Temporal by a read that began then, by Redis' clock."""
        written = orjson.dumps([key.model_dump(mode="json") for key in keys])
        await self._redis.eval(_STORE, 1, key_names.API_KEYS, revision, written, began, _TTL_SECONDS)

    async def outdate(self) -> None:
        """Have the next process that looks compare the copy with Temporal."""
        async with self._redis.pipeline() as pipe:
            pipe.hdel(key_names.API_KEYS, "checked")
            pipe.delete(key_names.API_KEYS_LOOK)
            await pipe.execute()

    async def take_look(self) -> bool:
        """Whether this process is the one that reads the keys from Temporal now."""
        return bool(await self._redis.set(key_names.API_KEYS_LOOK, b"", nx=True, px=_LOOK_MS))

    async def used(self, uses: Mapping[str, int]) -> None:
        """Note the last use of keys: id -> Unix seconds."""
        flat = [part for use in uses.items() for part in use]
        await self._redis.eval(_LATER, 1, key_names.API_KEYS_USED, *flat, _USED_TTL_SECONDS)

    async def last_uses(self, ids: Sequence[str]) -> dict[str, int]:
        """The last uses of these keys, as far as they are known."""
        if not ids:
            return {}
        found = await self._redis.hmget(key_names.API_KEYS_USED, list(ids))
        return {id: int(at) for id, at in zip(ids, found, strict=True) if at is not None}
