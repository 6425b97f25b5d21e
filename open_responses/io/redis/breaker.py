"""A circuit breaker per provider, shared through Redis: not every response of a fleet asks a provider that is down."""

from __future__ import annotations

from typing import Literal

from open_responses.errors import OpenResponsesError, ProviderTimeout, ProviderUnavailable
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown, script

_SOURCE = script("redis/breaker.lua")
# Five in a row, with no success between them, are no accident.
_FAILURES = 5
_OPEN_MS = 10_000
_MEMORY_MS = 60_000


class Breaker:
    """Asked before each sample, and given its outcome. During an outage of Redis it lets everything through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._failing: set[str] = set()

    async def ask(self, provider: str) -> float:
        """Seconds to wait before this provider is tried again; 0.0 to go on.

        When the wait is over, one caller is let through; its success closes the breaker.
        """
        waiting = await self._call("ask", provider)
        if waiting:
            self._failing.add(provider)
        return waiting / 1000

    async def failed(self, provider: str, error: OpenResponsesError) -> None:
        """Count a failure that shows the provider to be down; ignore any other."""
        if isinstance(error, ProviderUnavailable | ProviderTimeout):
            self._failing.add(provider)
            await self._call("failed", provider)

    async def succeeded(self, provider: str) -> None:
        """Forget the failures. Costs nothing where this process knows of none."""
        if provider in self._failing:
            self._failing.discard(provider)
            await self._call("succeeded", provider)

    async def _call(self, what: Literal["ask", "failed", "succeeded"], provider: str) -> int:
        try:
            answer: int = await self._redis.eval(
                _SOURCE, 1, key_names.breaker(provider), what, _FAILURES, _OPEN_MS, _MEMORY_MS
            )
        except RedisDown:
            return 0
        return answer
