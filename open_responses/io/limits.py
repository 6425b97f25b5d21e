"""How much of an API key's limits is used: counted in Redis for all processes, by one script.

What this prevents: limits that open when Redis goes away (each process then counts for itself, from where all were
when it last heard), places that a crash would take for ever (each is a lease, and Temporal is asked when it ends), and
a finished response that is counted twice, or not at all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import structlog

from open_responses.config import ApiKeyConfig
from open_responses.io import keys
from open_responses.io.redis import Pipeline, Redis, RedisDown, script
from open_responses.payloads import Admitted

log = structlog.get_logger(__name__)

_SOURCE = script("limits")
_WINDOW_SECONDS = 60
# Most responses end well before; of those that do not, Temporal is asked once in this time.
_LEASE_MS = 10 * 60_000
# Redis is away, and nobody can tell when a response ends: its place is free again after this long.
_BLIND_LEASE_SECONDS = 60.0
# Longer than a month has days: a budget's count is there for as long as it matters.
_BUDGET_DAYS = 40

Limit = Literal["requests", "tokens", "running", "budget"]
_What: TypeAlias = Literal["admit", "look"]
_LIMITS: tuple[Limit | None, ...] = (None, "requests", "tokens", "running", "budget")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a key stands. `refused` names the limit that is reached; `wait_seconds` is None where no wait helps.

    The other numbers are those of the last minute, this request included if it was let in; `*_reset` is when all of
    them are forgotten, in seconds from now. `second` is when it was counted in Redis, 0 while that is away. Whoever
    reads `doubtful` finds out whether these responses still run.
    """

    refused: Limit | None = None
    wait_seconds: float | None = 0.0
    requests: int = 0
    requests_reset: float = 0.0
    tokens: int = 0
    tokens_reset: float = 0.0
    spent: int = 0
    second: int = 0
    doubtful: tuple[str, ...] = ()


class Quotas:
    """Of all API keys. `admit` before a response begins; `settle` goes with its end, `withdraw` if it had none."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._local: dict[str, _Account] = {}

    async def admit(self, key: ApiKeyConfig, response_id: str, tokens: int, places: int | None) -> Standing:
        """Count a request with an estimate of its tokens, and take one of the places (None: of any number), or say
        which limit refuses it."""
        return await self._ask("admit", key, response_id, tokens, places)

    async def look(self, key: ApiKeyConfig) -> Standing:
        """Where the key stands; counts nothing."""
        return await self._ask("look", key, "", 0, None)

    async def withdraw(self, admitted: Admitted, response_id: str) -> None:
        """It has not begun: the place is free. The request was made, and stays counted."""
        try:
            await settle(self._redis, admitted, response_id, 0)
        except RedisDown:
            self._account(admitted.account).running.pop(response_id, None)

    async def renew(self, key: ApiKeyConfig, response_id: str) -> None:
        """It still runs. Raises RedisDown."""
        await self._redis.eval(_SOURCE, 4, *_keys(key.account, key.budget_period), "renew", response_id, _LEASE_MS)

    async def doubt(self, admitted: Admitted, response_id: str) -> None:
        """It may or may not run: its lease ends now, so that whoever counts next finds out."""
        with contextlib.suppress(*RedisDown):
            names = _keys(admitted.account, admitted.budget_period)
            await self._redis.eval(_SOURCE, 4, *names, "renew", response_id, 0)

    async def _ask(self, what: _What, key: ApiKeyConfig, response_id: str, tokens: int, places: int | None) -> Standing:
        limits = (key.requests_per_minute, key.tokens_per_minute, places, key.budget_tokens)
        account = self._account(key.account)
        try:
            reply = await self._redis.eval(
                _SOURCE,
                4,
                *_keys(key.account, key.budget_period),
                what,
                response_id,
                tokens,
                _LEASE_MS,
                *(limit or 0 for limit in limits),
            )
        except RedisDown as error:
            log.warning("limits_of_this_process_only", tenant=key.tenant, reason=str(error))
            return account.ask(what, key, response_id, tokens, places)
        standing = _standing(reply)
        account.heard(standing)
        return standing

    def _account(self, account: str) -> _Account:
        return self._local.setdefault(account, _Account())


def settle(redis: Redis | Pipeline, admitted: Admitted, response_id: str, tokens: int) -> Awaitable[object]:
    """Give the place back and count what was used, in the budget's period of today. Safe to do twice.

    In a pipeline, it goes with the rest.
    """
    settled: Awaitable[object] = redis.eval(
        _SOURCE,
        4,
        *_keys(admitted.account, admitted.budget_period),
        "settle",
        response_id,
        tokens,
        admitted.tokens,
        admitted.second,
        _BUDGET_DAYS,
    )
    return settled


def _keys(account: str, period: Literal["day", "month"]) -> tuple[str, str, str, str]:
    return (
        keys.limits(account, "requests"),
        keys.limits(account, "tokens"),
        keys.limits(account, "running"),
        keys.limits(account, f"spent:{_today()[: 10 if period == 'day' else 7]}"),
    )


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _standing(reply: Sequence[int | bytes]) -> Standing:
    refused, waiting, requests, requests_reset, tokens, tokens_reset, spent, second, *doubtful = reply
    return Standing(
        refused=_LIMITS[int(refused)],
        wait_seconds=None if int(waiting) < 0 else int(waiting) / 1000,
        requests=int(requests),
        requests_reset=int(requests_reset) / 1000,
        tokens=int(tokens),
        tokens_reset=int(tokens_reset) / 1000,
        spent=int(spent),
        second=int(second),
        doubtful=tuple(id.decode() for id in doubtful if isinstance(id, bytes)),
    )


class Window:
    """What was counted in the last minute, by the second."""

    def __init__(self) -> None:
        self._seconds: dict[int, int] = {}

    def add(self, amount: int) -> None:
        second = int(time.time())
        self._seconds[second] = self._seconds.get(second, 0) + amount

    def raise_to(self, total: int) -> None:
        if (more := total - self.total) > 0:
            self.add(more)

    @property
    def total(self) -> int:
        self._forget()
        return sum(self._seconds.values())

    @property
    def reset(self) -> float:
        self._forget()
        return self._left(max(self._seconds)) if self._seconds else 0.0

    def wait(self, limit: int | None, more: int) -> float | None:
        """Seconds until `more` fits; None if it never does."""
        over = self.total + more - (limit or 0)
        if limit is None or over <= 0:
            return 0.0
        for second in sorted(self._seconds):
            over -= self._seconds[second]
            if over <= 0:
                return self._left(second)
        return None

    def _forget(self) -> None:
        oldest = int(time.time()) - _WINDOW_SECONDS
        for second in [second for second in self._seconds if second <= oldest]:
            del self._seconds[second]

    @staticmethod
    def _left(second: int) -> float:
        return second + _WINDOW_SECONDS - time.time()


@dataclass(slots=True)
class _Account:
    """What this process has seen of one key's use: the limits while Redis is away."""

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    running: dict[str, float] = field(default_factory=dict)
    spent: int = 0

    def heard(self, standing: Standing) -> None:
        """What all processes together have used, as Redis has it: the next outage goes on from there."""
        self.spent = standing.spent
        self.running.clear()
        self.requests.raise_to(standing.requests)
        self.tokens.raise_to(standing.tokens)

    def ask(self, what: _What, key: ApiKeyConfig, response_id: str, tokens: int, places: int | None) -> Standing:
        """As the script does it."""
        now = time.monotonic()
        self.running = {id: until for id, until in self.running.items() if until > now}
        refused, wait = self._refused(key, response_id, tokens, places) if what == "admit" else (None, 0.0)
        if what == "admit" and refused is None:
            self.requests.add(1)
            self.tokens.add(tokens)
            self.running[response_id] = now + _BLIND_LEASE_SECONDS
        return Standing(
            refused=refused,
            wait_seconds=wait,
            requests=self.requests.total,
            requests_reset=self.requests.reset,
            tokens=self.tokens.total,
            tokens_reset=self.tokens.reset,
            spent=self.spent,
        )

    def _refused(
        self, key: ApiKeyConfig, response_id: str, tokens: int, places: int | None
    ) -> tuple[Limit | None, float | None]:
        if key.budget_tokens is not None and self.spent >= key.budget_tokens:
            return "budget", None
        if (wait := self.requests.wait(key.requests_per_minute, 1)) != 0:
            return "requests", wait
        if (wait := self.tokens.wait(key.tokens_per_minute, tokens)) != 0:
            return "tokens", wait
        is_full = places is not None and len(self.running) >= places
        return ("running", 0.0) if is_full and response_id not in self.running else (None, 0.0)
