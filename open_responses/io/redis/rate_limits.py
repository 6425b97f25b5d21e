"""The limits of API keys, counted in Redis for all processes, by one script.

What this prevents:

- limits without effect during an outage of Redis: each process then counts by itself, from the last state that it read;
- slots that a crash would take for ever: each is a lease, and when it ends, Temporal is queried;
- an ended response that is counted twice or not at all;
- a budget that parallel requests exceed: a response reserves its tokens, and their cost, before it sends them to a
  provider, and at its end those that it used replace the reservation.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import structlog

from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Pipeline, Redis, RedisDown, script
from open_responses.io.redis.sliding_window import Window
from open_responses.io.redis.usage_counters import day_of, mark_of
from open_responses.loop.payloads.finish import UsageRecord
from open_responses.loop.payloads.start import Admitted
from open_responses.schema.price import CostEstimate, in_nano

log = structlog.get_logger(__name__)

_SOURCE = script("redis/rate_limits.lua")
# Most responses end earlier. For any other, Temporal is queried once in this time. If the end of a response could not
# be written to Redis, its slot and its reservation stay taken for this long.
_LEASE_MS = 2 * 60_000
# During an outage of Redis the end of a response cannot be counted: its slot is free again after this long.
_BLIND_LEASE_SECONDS = 60.0

Limit = Literal["requests", "tokens", "running", "budget", "cost"]
_What: TypeAlias = Literal["admit", "look"]
_LIMITS: tuple[Limit | None, ...] = (None, "requests", "tokens", "running", "budget", "cost")


_NO_COST = CostEstimate()


@dataclass(frozen=True, slots=True)
class Standing:
    """The use of a key's limits.

    Attributes:
        refused: The limit that the request would exceed.
        wait_seconds: The time after which the request would fit; None if no wait helps.
        requests: The requests of the last minute, with this one if it was admitted.
        requests_reset: The seconds until all of them are older than a minute.
        tokens: The tokens of the last minute.
        tokens_reset: As `requests_reset`.
        spent: The tokens of the budget's period.
        spent_nano: The cost of the budget's period, in billionths of a US dollar.
        second: The Unix second in which the request was counted; 0 during an outage of Redis.
        running: The number of taken slots.
        doubtful: Responses whose lease has ended. The caller checks whether they still run.
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
    spent_nano: int = 0
    doubtful: tuple[str, ...] = ()


class Quotas:
    """The limits of all API keys.

    `admit` is called before a response begins, `charge` before each model turn, then `settle` at its end, or `withdraw`
    if it does not begin.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._local: dict[str, _Account] = {}

    async def admit(
        self,
        key: ApiKeyConfig,
        response_id: str,
        tokens: int,
        slots: int | None,
        *,
        answer_tokens: int = 0,
        cost: CostEstimate = _NO_COST,
    ) -> Standing:
        """Count a request and take a slot, or return the limit that refuses it.

        Args:
            key: The API key, with its limits.
            response_id: The response that is to begin.
            tokens: An estimate of the tokens that its first model turn sends.
            slots: The most responses that may run at a time; None for any number.
            answer_tokens: The most tokens of its answer, reserved from the budget with `tokens`; 0 if the request sets
                no limit.
            cost: What the first model turn costs, for a key with a budget of costs.
        """
        return await self._ask("admit", key, response_id, tokens, slots, answer_tokens, cost)

    async def look(self, key: ApiKeyConfig) -> Standing:
        """The use of the key's limits, without a request to count."""
        return await self._ask("look", key, "", 0, None)

    async def charge(
        self, admitted: Admitted, response_id: str, sent: int, answer_tokens: int, cost: CostEstimate = _NO_COST
    ) -> Limit | None:
        """Reserve the tokens of the next model turn and their cost, before it is sent. Raises RedisDown.

        Args:
            admitted: The response's share of its key's limits; it names the budget.
            response_id: The running response.
            sent: Tokens that it has used in earlier model turns, and an estimate of those that this one sends.
            answer_tokens: The most tokens of this model turn's answer; 0 if there is no limit.
            cost: What they cost.

        Returns:
            The budget that does not have them. Nothing is reserved then, and nothing may be sent. None if all have.
        """
        refused = await self._redis.eval(
            _SOURCE,
            len(_KEYS),
            *_keys(admitted),
            "charge",
            response_id,
            sent,
            answer_tokens,
            admitted.budget_tokens,
            in_nano(admitted.budget_usd),
            cost.sent,
            cost.answer,
            cost.output_million,
        )
        return _LIMITS[int(refused)]

    async def settle(self, admitted: Admitted, response_id: str, used: Used) -> None:
        """As the function `settle`. Raises RedisDown."""
        await settle(self._redis, admitted, response_id, used)

    async def withdraw(self, admitted: Admitted, response_id: str) -> None:
        """Free the slot and the reservation of a response that did not begin. The request stays counted."""
        try:
            await self._redis.eval(
                _SOURCE, len(_KEYS), *_keys(admitted), "withdraw", response_id, admitted.tokens, admitted.second
            )
        except RedisDown:
            self._account(admitted.account).running.pop(response_id, None)

    async def renew(self, admitted: Admitted, response_id: str) -> None:
        """Renew the lease of a response that still runs. Raises RedisDown."""
        await self._redis.eval(_SOURCE, len(_KEYS), *_keys(admitted), "renew", response_id, _LEASE_MS)

    async def doubt(self, admitted: Admitted, response_id: str) -> None:
        """End the lease of a response that may not run, so that the next request of the key checks it."""
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
        cost: CostEstimate = _NO_COST,
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
                in_nano(key.budget_usd or 0),
                cost.sent,
                cost.answer,
            )
        except RedisDown as error:
            log.warning("limits_of_this_process_only", tenant=key.tenant, reason=str(error))
            return account.ask(what, key, response_id, tokens, slots, cost)
        standing = _standing(reply)
        account.update(standing)
        return standing

    async def _adopt(self, admitted: Admitted, account: _Account) -> None:
        """Count the slots of responses that began during an outage of Redis, and may still run."""
        await self._redis.eval(_SOURCE, len(_KEYS), *_keys(admitted), "adopt", _LEASE_MS, *account.running)
        account.running.clear()

    def _account(self, account: str) -> _Account:
        return self._local.setdefault(account, _Account())


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens that a response has used, for limits and budgets.

    `known` are those that its providers reported. `cut_off` is an estimate of the output of a model turn whose end no
    provider reported (it was cancelled, or broke for good); the script adds that turn's input. None if there was none.
    `cost_usd` is the cost of the known tokens, as far as their prices are known.
    """

    known: int
    cut_off: int | None = None
    cost_usd: float | None = None


def settle(redis: Redis | Pipeline, admitted: Admitted, response_id: str, used: Used) -> Awaitable[object]:
    """Free the slot and the reservation, and count the used tokens and their cost in the budget's current period.

    Calls for the same response within an hour count once. With a pipeline, the command is sent with the others.
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
        in_nano(used.cost_usd or 0),
    )
    return settled


def recount(redis: Pipeline, record: UsageRecord, ended_at: datetime) -> None:
    """Add what an ended response has used to its key's budget, after a loss of Redis.

    Precedes `count` of the usage in the same pipeline: a response is left out that the usage has, since its end was
    counted in both. Nothing is sent for a budget of an earlier period.
    """
    admitted, now = Admitted(account=record.account, budget_period=record.budget_period), datetime.now(UTC)
    used = record.usage
    if not record.account or used is None or _period(admitted, ended_at) != _period(admitted, now):
        return
    redis.eval(
        _SOURCE,
        len(_KEYS) + 1,
        *_keys(admitted),
        key_names.usage_counted(day_of(record.created_at).isoformat()),
        "recount",
        record.response_id,
        used.total,
        in_nano(used.cost_usd or 0),
        mark_of(record.response_id),
        max(0, int((now - ended_at).total_seconds())),
    )


_KEYS = (
    ("requests", ""),
    ("tokens", ""),
    ("running", ""),
    ("spent", "now"),
    ("reserved", ""),
    ("sent", ""),
    ("settled", ""),
    ("spent", "then"),
    ("usd", "now"),
    ("usd", "then"),
)


def _keys(admitted: Admitted) -> list[str]:
    """The script's keys, in its order."""
    then = datetime.fromtimestamp(admitted.second, UTC) if admitted.second else datetime.now(UTC)
    periods = {"": "", "now": f":{_period(admitted, datetime.now(UTC))}", "then": f":{_period(admitted, then)}"}
    return [key_names.limits(admitted.account, name + periods[period]) for name, period in _KEYS]


def _period(admitted: Admitted, at: datetime) -> str:
    return at.date().isoformat()[: 10 if admitted.budget_period == "day" else 7]


def _standing(reply: Sequence[int | bytes]) -> Standing:
    refused, waiting, requests, requests_reset, tokens, tokens_reset, spent, second, running, cost, *doubtful = reply
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
        spent_nano=int(cost),
        doubtful=tuple(id.decode() for id in doubtful if isinstance(id, bytes)),
    )


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
    spent_nano: int = 0

    def update(self, standing: Standing) -> None:
        """Keep the counts of all processes from Redis. In the next outage, this process continues from them."""
        self.spent, self.spent_nano = standing.spent, standing.spent_nano
        self.taken, self.until = standing.running, None
        self.requests.raise_to(standing.requests)
        self.tokens.raise_to(standing.tokens)

    def ask(
        self, what: _What, key: ApiKeyConfig, response_id: str, tokens: int, slots: int | None, cost: CostEstimate
    ) -> Standing:
        """As the script does it."""
        now = time.monotonic()
        if self.until is None:
            self.until = now + _BLIND_LEASE_SECONDS
        elif self.until < now:
            self.taken = 0
        self.running = {id: until for id, until in self.running.items() if until > now}
        refused, wait = self._refused(key, response_id, tokens, slots, cost) if what == "admit" else (None, 0.0)
        if what == "admit" and refused is None:
            self.requests.add(1)
            self.tokens.add(tokens)
            self.running[response_id] = now + _BLIND_LEASE_SECONDS
            self.spent += tokens
            self.spent_nano += cost.sent
        return Standing(
            refused=refused,
            wait_seconds=wait,
            requests=self.requests.total,
            requests_reset=self.requests.reset,
            tokens=self.tokens.total,
            tokens_reset=self.tokens.reset,
            spent=self.spent,
            spent_nano=self.spent_nano,
            running=self.taken + len(self.running),
        )

    def _refused(
        self, key: ApiKeyConfig, response_id: str, tokens: int, slots: int | None, cost: CostEstimate
    ) -> tuple[Limit | None, float | None]:
        left = None if key.budget_tokens is None else key.budget_tokens - self.spent
        if left is not None and (left <= 0 or tokens > left):
            return "budget", None
        dollars = None if key.budget_usd is None else in_nano(key.budget_usd) - self.spent_nano
        if dollars is not None and (dollars <= 0 or cost.sent > dollars):
            return "cost", None
        if (wait := self.requests.wait(key.requests_per_minute, 1)) != 0:
            return "requests", wait
        if (wait := self.tokens.wait(key.tokens_per_minute, tokens)) != 0:
            return "tokens", wait
        is_full = slots is not None and self.taken + len(self.running) >= slots
        return ("running", 0.0) if is_full and response_id not in self.running else (None, 0.0)
