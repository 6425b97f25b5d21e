"""How much of an API key's limits is used: counted in Redis for all processes, by one script.

What this prevents: limits that open when Redis goes away (each process then counts for itself, from the last state
that it read), slots that a crash would take for ever (each is a lease, and Temporal is asked when it ends), a
finished response that is counted twice or not at all, and a budget that requests side by side overrun: a response
reserves what it sends to a provider before it sends it, and what it has used replaces the reservation at its end.
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
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Pipeline, Redis, RedisDown, script
from open_responses.loop.payloads import Admitted

log = structlog.get_logger(__name__)

_SOURCE = script("redis/rate_limits.lua")
_WINDOW_SECONDS = 60
# Most responses end well before; of those that do not, Temporal is asked once in this time. It is also how long the
# slot and the reservation of a response stay taken whose end could not be written to Redis.
_LEASE_MS = 2 * 60_000
# During an outage of Redis the end of a response cannot be counted: its slot is free again after this long.
_BLIND_LEASE_SECONDS = 60.0

Limit = Literal["requests", "tokens", "running", "budget"]
_What: TypeAlias = Literal["admit", "look"]
_LIMITS: tuple[Limit | None, ...] = (None, "requests", "tokens", "running", "budget")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a key stands. `refused` names the limit that is reached; `wait_seconds` is None where no wait helps.

    The other numbers are those of the last minute, this request included if it was let in; `*_reset` is when all of
    them are forgotten, in seconds from now. `second` is when it was counted in Redis, 0 while that is away. `running`
    is the number of slots that are taken. `doubtful` are responses whose lease has ended: the caller finds out
    whether they still run.
    """

    refused: Limit | None = None
    wait_seconds: float | None = 0.0
    requests: int = 0
    requests_reset: float = 0.0
    tokens: int = 0
    tokens_reset: float = 0.0
    spent: int = 0
    second: int = 0
    running: int = 0
    doubtful: tuple[str, ...] = ()


class Quotas:
    """Of all API keys. `admit` before a response begins; `settle` goes with its end, `withdraw` if it had none."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._local: dict[str, _Account] = {}

    async def admit(
        self, key: ApiKeyConfig, response_id: str, tokens: int, slots: int | None, *, answer_tokens: int = 0
    ) -> Standing:
        """Count a request and take a slot, or say which limit refuses it.

        Args:
            key: The API key, with its limits.
            response_id: The response that is to begin.
            tokens: An estimate of the tokens that its first model turn sends.
            slots: How many responses may run at a time; None for any number.
            answer_tokens: What its answer may have at most, reserved from the budget with `tokens`; 0 where the request
                sets no limit.
        """
        return await self._ask("admit", key, response_id, tokens, slots, answer_tokens)

    async def look(self, key: ApiKeyConfig) -> Standing:
        """Where the key stands; counts nothing."""
        return await self._ask("look", key, "", 0, None)

    async def charge(self, admitted: Admitted, response_id: str, sent: int, answer_tokens: int) -> bool:
        """Reserve what the next model turn sends, before it is sent. Raises RedisDown.

        Args:
            admitted: What the response has taken of its key's limits; it names the budget.
            response_id: The running response.
            sent: Tokens that it has used in earlier model turns, and an estimate of those that this one sends.
            answer_tokens: What the answer of this model turn may have at most; 0 where there is no limit.

        Returns:
            False when the budget does not have them: nothing is reserved, and nothing may be sent.
        """
        refused = await self._redis.eval(
            _SOURCE, len(_KEYS), *_keys(admitted), "charge", response_id, sent, answer_tokens, admitted.budget_tokens
        )
        return int(refused) == 0

    async def settle(self, admitted: Admitted, response_id: str, used: Used) -> None:
        """As the function. Raises RedisDown."""
        await settle(self._redis, admitted, response_id, used)

    async def withdraw(self, admitted: Admitted, response_id: str) -> None:
        """It has not begun: slot and reservation are free. The request was made, and stays counted."""
        try:
            await self._redis.eval(
                _SOURCE, len(_KEYS), *_keys(admitted), "withdraw", response_id, admitted.tokens, admitted.second
            )
        except RedisDown:
            self._account(admitted.account).running.pop(response_id, None)

    async def renew(self, admitted: Admitted, response_id: str) -> None:
        """It still runs. Raises RedisDown."""
        await self._redis.eval(_SOURCE, len(_KEYS), *_keys(admitted), "renew", response_id, _LEASE_MS)

    async def doubt(self, admitted: Admitted, response_id: str) -> None:
        """It may or may not run: its lease ends now, so that the next request of the key finds out."""
        with contextlib.suppress(*RedisDown):
            await self._redis.eval(_SOURCE, len(_KEYS), *_keys(admitted), "renew", response_id, 0)

    async def _ask(
        self,
        what: _What,
        key: ApiKeyConfig,
        response_id: str,
        tokens: int,
        slots: int | None,
        answer_tokens: int = 0,
    ) -> Standing:
        limits = (key.requests_per_minute, key.tokens_per_minute, slots, key.budget_tokens)
        account = self._account(key.account)
        admitted = Admitted(account=key.account, budget_period=key.budget_period)
        try:
            if account.running:
                await self._adopt(admitted, account)
            reply = await self._redis.eval(
                _SOURCE,
                len(_KEYS),
                *_keys(admitted),
                what,
                response_id,
                tokens,
                _LEASE_MS,
                *(limit or 0 for limit in limits),
                answer_tokens,
            )
        except RedisDown as error:
            log.warning("limits_of_this_process_only", tenant=key.tenant, reason=str(error))
            return account.ask(what, key, response_id, tokens, slots)
        standing = _standing(reply)
        account.update(standing)
        return standing

    async def _adopt(self, admitted: Admitted, account: _Account) -> None:
        """Count the slots of responses that began while Redis was away: they may still run."""
        await self._redis.eval(_SOURCE, len(_KEYS), *_keys(admitted), "adopt", _LEASE_MS, *account.running)
        account.running.clear()

    def _account(self, account: str) -> _Account:
        return self._local.setdefault(account, _Account())


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens that a response has used, for limits and budgets.

    `known` is what its providers reported. `cut_off` is an estimate of the output of a model turn whose end no
    provider reported (it was cancelled, or broke for good); the input that this turn sent is added to it. None: there
    was no such turn, and `known` is all.
    """

    known: int
    cut_off: int | None = None


def settle(redis: Redis | Pipeline, admitted: Admitted, response_id: str, used: Used) -> Awaitable[object]:
    """Give the slot and the reservation back, and count what was used, in the budget's period of today.

    Counts once, however often it is called within an hour. In a pipeline, it goes with the rest.
    """
    settled: Awaitable[object] = redis.eval(
        _SOURCE,
        len(_KEYS),
        *_keys(admitted),
        "settle",
        response_id,
        used.known,
        -1 if used.cut_off is None else used.cut_off,
        admitted.tokens,
        admitted.second,
    )
    return settled


_KEYS = ("requests", "tokens", "running", "spent now", "reserved", "sent", "settled", "spent then")


def _keys(admitted: Admitted) -> list[str]:
    """The script's keys, in its order."""
    then = datetime.fromtimestamp(admitted.second, UTC) if admitted.second else datetime.now(UTC)
    spent = {"spent now": _spent(admitted, datetime.now(UTC)), "spent then": _spent(admitted, then)}
    return [key_names.limits(admitted.account, spent.get(what, what)) for what in _KEYS]


def _spent(admitted: Admitted, at: datetime) -> str:
    return f"spent:{at.date().isoformat()[: 10 if admitted.budget_period == 'day' else 7]}"


def _standing(reply: Sequence[int | bytes]) -> Standing:
    refused, waiting, requests, requests_reset, tokens, tokens_reset, spent, second, running, *doubtful = reply
    return Standing(
        refused=_LIMITS[int(refused)],
        wait_seconds=None if int(waiting) < 0 else int(waiting) / 1000,
        requests=int(requests),
        requests_reset=int(requests_reset) / 1000,
        tokens=int(tokens),
        tokens_reset=int(tokens_reset) / 1000,
        spent=int(spent),
        second=int(second),
        running=int(running),
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
    """What this process has seen of one key's use: the limits while Redis is away.

    `taken` slots were taken when Redis last answered. Their responses may run on in an outage, unseen, so each holds
    its slot for as long into the outage as a response that begins in it; `until` is when that ends.
    """

    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    running: dict[str, float] = field(default_factory=dict)
    taken: int = 0
    until: float | None = None
    spent: int = 0

    def update(self, standing: Standing) -> None:
        """Take over from Redis what all processes have used; in the next outage, this process counts on from there."""
        self.spent = standing.spent
        self.taken, self.until = standing.running, None
        self.requests.raise_to(standing.requests)
        self.tokens.raise_to(standing.tokens)

    def ask(self, what: _What, key: ApiKeyConfig, response_id: str, tokens: int, slots: int | None) -> Standing:
        """As the script does it."""
        now = time.monotonic()
        if self.until is None:
            self.until = now + _BLIND_LEASE_SECONDS
        elif self.until < now:
            self.taken = 0
        self.running = {id: until for id, until in self.running.items() if until > now}
        refused, wait = self._refused(key, response_id, tokens, slots) if what == "admit" else (None, 0.0)
        if what == "admit" and refused is None:
            self.requests.add(1)
            self.tokens.add(tokens)
            self.running[response_id] = now + _BLIND_LEASE_SECONDS
            self.spent += tokens
        return Standing(
            refused=refused,
            wait_seconds=wait,
            requests=self.requests.total,
            requests_reset=self.requests.reset,
            tokens=self.tokens.total,
            tokens_reset=self.tokens.reset,
            spent=self.spent,
            running=self.taken + len(self.running),
        )

    def _refused(
        self, key: ApiKeyConfig, response_id: str, tokens: int, slots: int | None
    ) -> tuple[Limit | None, float | None]:
        left = None if key.budget_tokens is None else key.budget_tokens - self.spent
        if left is not None and (left <= 0 or tokens > left):
            return "budget", None
        if (wait := self.requests.wait(key.requests_per_minute, 1)) != 0:
            return "requests", wait
        if (wait := self.tokens.wait(key.tokens_per_minute, tokens)) != 0:
            return "tokens", wait
        is_full = slots is not None and self.taken + len(self.running) >= slots
        return ("running", 0.0) if is_full and response_id not in self.running else (None, 0.0)
