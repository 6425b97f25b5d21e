"""Counters in Redis that all workers share."""

from __future__ import annotations

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown

_MOST_OWED = 10_000


class RedisCounters:
    """Implements `contracts.Counters`.

    An outage of Redis stops no response. Amounts that cannot be written are kept, and added with the next write that
    succeeds. Until then the sum is that of this process.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._owed: dict[str, int] = {}

    async def add(self, name: str, amount: int, *, ttl_seconds: int) -> int:
        """Add to a count and return the sum. The count is reset `ttl_seconds` after its first amount."""
        amount += self._owed.pop(name, 0)
        pipe = self._redis.pipeline(transaction=True)
        pipe.incrby(key_names.counter(name), amount)
        pipe.expire(key_names.counter(name), ttl_seconds, nx=True)
        try:
            total, _ = await pipe.execute()
        except RedisDown:
            if amount and len(self._owed) < _MOST_OWED:
                self._owed[name] = self._owed.get(name, 0) + amount
            return amount
        return int(total)
