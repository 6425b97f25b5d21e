"""Numbers that all workers share, in Redis."""

from __future__ import annotations

from open_responses.io import keys
from open_responses.io.redis import Redis


class RedisCounters:
    """Implements `contracts.Counters`. Raises RedisDown during an outage."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def add(self, name: str, amount: int, *, ttl_seconds: int) -> int:
        """The count starts anew `ttl_seconds` after it was first added to."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.incrby(keys.counter(name), amount)
        pipe.expire(keys.counter(name), ttl_seconds, nx=True)
        total, _ = await pipe.execute()
        return int(total)
