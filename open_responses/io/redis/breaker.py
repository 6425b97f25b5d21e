"""A circuit breaker for each provider, shared through Redis, so that few responses call one that is down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from open_responses.errors import OpenResponsesError, ProviderTimeout, ProviderUnavailable
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown, script

_SOURCE = script("redis/breaker.lua")
# Failures in a row, without a success between them, after which a provider counts as down.
_FAILURES = 5
_OPEN_MS = 10_000
_MEMORY_MS = 60_000


class Breaker:
    """Checked before each sample, and updated with its outcome. During an outage of Redis it allows every call."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._failing: set[str] = set()

    async def ask(self, provider: str) -> float:
        """The seconds to wait before a call of this provider; 0.0 for none.

        After the wait, one caller may call the provider. Its success closes the breaker.
        """
        waiting = await self._call("ask", provider)
        if waiting:
            self._failing.add(provider)
        return waiting / 1000

    async def failed(self, provider: str, error: OpenResponsesError) -> None:
        """Count a failure of a provider that is unavailable; ignore any other error."""
        if isinstance(error, ProviderUnavailable | ProviderTimeout):
            self._failing.add(provider)
            await self._call("failed", provider, error.error_code)

    async def succeeded(self, provider: str) -> None:
        """Reset the count of failures. Without a failure in this process, no command is sent."""
        if provider in self._failing:
            self._failing.discard(provider)
            await self._call("succeeded", provider)

    async def _call(self, what: Literal["ask", "failed", "succeeded"], provider: str, why: str = "") -> int:
        try:
            answer: int = await self._redis.eval(
                _SOURCE, 1, key_names.breaker(provider), what, _FAILURES, _OPEN_MS, _MEMORY_MS, why
            )
        except RedisDown:
            return 0
        return answer


@dataclass(frozen=True, slots=True)
class BreakerState:
    """A breaker that has counted failures in the last minute.

    `half_open`: the wait is over, and the next call shows whether the provider is back. `open_until` is in Unix
    seconds, `last_error` the code of the last failure.
    """

    state: Literal["closed", "open", "half_open"]
    open_until: float | None
    last_error: str | None


async def states_of(redis: Redis, providers: Sequence[str]) -> dict[str, BreakerState]:
    """The breakers of these providers that have counted a failure. Raises RedisDown."""
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    for provider in providers:
        pipe.hmget(key_names.breaker(provider), ["failures", "until", "error"])
    (seconds, microseconds), *found = await pipe.execute()
    now = seconds + microseconds / 1e6
    return {
        provider: _state(until, error, now)
        for provider, (failures, until, error) in zip(providers, found, strict=True)
        if failures is not None
    }


def _state(until: bytes | None, error: bytes | None, now: float) -> BreakerState:
    last_error = error.decode() if error else None
    if until is None:
        return BreakerState("closed", None, last_error)
    open_until = int(until) / 1000
    return BreakerState("open" if open_until > now else "half_open", open_until, last_error)
