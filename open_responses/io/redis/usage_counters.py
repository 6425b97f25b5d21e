"""The usage of each tenant, model and day: responses, tokens and cost.

What this prevents: a response that counts twice because its end is written again after an outage or by another process;
and counts that a flush of Redis loses. Counting a response sets a mark, and Temporal has the usage of each response, so
the responses without a mark can be counted again (`io/store/usage_rebuild.py`).

A response belongs to the UTC day on which it was created.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import TypeVar

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Pipeline, Redis, script
from open_responses.loop.payloads.finish import UsageRecord
from open_responses.schema.price import NANO, in_nano

_SOURCE = script("redis/usage_counters.lua")
DAYS_KEPT = 400
# Longer than a response is stored by default: until then its end may be written again, or restored from Temporal.
_MARKS_KEPT_DAYS = 40
# A client can invent any name that the pattern of a route accepts.
_MOST_MODELS = 200
_LONGEST_MODEL = 200
OTHER_MODELS = "other"
_AT_ONCE = 200
_DAY_SECONDS = 86_400

Part = TypeVar("Part")


@dataclass(frozen=True, slots=True)
class Used:
    """The number of ended responses, and their usage.

    `cost_nano` is the known cost in billionths of a US dollar, and `unpriced` the number of responses of which a part
    has no known price.
    """

    responses: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0
    priced: int = 0
    unpriced: int = 0

    @classmethod
    def of(cls, record: UsageRecord) -> Used:
        """The usage of one response."""
        usage = record.usage
        if usage is None or not usage.total:
            return cls(responses=1, failed=int(record.status == "failed"))
        return cls(
            responses=1,
            failed=int(record.status == "failed"),
            input_tokens=usage.input_tokens,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost_nano=in_nano(usage.cost_usd or 0),
            priced=int(usage.cost_usd is not None),
            unpriced=int(usage.unpriced or usage.cost_usd is None),
        )

    def plus(self, other: Used) -> Used:
        """Return the sum."""
        return Used(*(getattr(self, name) + getattr(other, name) for name in _COUNTED))

    @property
    def cost_usd(self) -> float | None:
        """The cost in US dollars; None if tokens were used and none of their prices is known."""
        return None if self.unpriced and not self.priced else self.cost_nano / NANO


_COUNTED = tuple(field.name for field in fields(Used))


@dataclass(frozen=True, slots=True)
class DayOfUse:
    """What one tenant used of one model on one day."""

    day: date
    tenant: str
    model: str
    used: Used


def day_of(created_at: int) -> date:
    """The UTC day of a Unix second."""
    return datetime.fromtimestamp(created_at, UTC).date()


def mark_of(response_id: str) -> bytes:
    """The member of `key_names.usage_counted` that stands for a response."""
    return blake2b(response_id.encode(), digest_size=9).digest()


def count(redis: Redis | Pipeline, record: UsageRecord) -> Awaitable[object]:
    """Count a response that has ended, once.

    With a pipeline, the command is sent with the others. Returns 1 if it was counted now.
    """
    day, used = day_of(record.created_at), Used.of(record)
    counted: Awaitable[object] = redis.eval(
        _SOURCE,
        3,
        key_names.usage(day.isoformat(), record.tenant),
        key_names.usage_tenants(day.isoformat()),
        key_names.usage_counted(day.isoformat()),
        mark_of(record.response_id),
        record.tenant,
        record.model[:_LONGEST_MODEL],
        OTHER_MODELS,
        _MOST_MODELS,
        DAYS_KEPT * _DAY_SECONDS,
        _MARKS_KEPT_DAYS * _DAY_SECONDS,
        *(part for name in _COUNTED for part in (name, getattr(used, name))),
    )
    return counted


class UsageCounters:
    """Reads the counts. All methods raise RedisDown."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, first: date, last: date, tenant: str | None) -> AsyncIterator[DayOfUse]:
        """What was used from the first day to the last, both included, by one tenant or (None) by all.

        In order of days. A few hundred keys are read at once, so that a long time does not hold up other requests.
        """
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        for some in _chunks(days):
            # The names of all tenants are read only for a caller who may see all of them.
            tenants = [[tenant]] * len(some) if tenant is not None else await self._tenants(some)
            wanted = [(day, one) for day, names in zip(some, tenants, strict=True) for one in names]
            for part in _chunks(wanted):
                pipe = self._redis.pipeline(transaction=False)
                for day, one in part:
                    pipe.hgetall(key_names.usage(day.isoformat(), one))
                for (day, one), counts in zip(part, await pipe.execute(), strict=True):
                    for model, used in sorted(_by_model(counts).items()):
                        yield DayOfUse(day, one, model, used)

    async def _tenants(self, days: Sequence[date]) -> list[list[str]]:
        pipe = self._redis.pipeline(transaction=False)
        for day in days:
            pipe.smembers(key_names.usage_tenants(day.isoformat()))
        return [sorted(name.decode() for name in names) for names in await pipe.execute()]

    async def are_whole(self) -> bool:
        """Whether the counts have all that Temporal has: False from a loss of Redis until they are rebuilt."""
        return bool(await self._redis.exists(key_names.USAGE_WHOLE))

    async def set_whole(self) -> None:
        """Record that the counts are complete, and that no process rebuilds them.

        Redis loses this record together with the counts.
        """
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(key_names.USAGE_REBUILDING)
        pipe.set(key_names.USAGE_WHOLE, "1", ex=DAYS_KEPT * _DAY_SECONDS)
        await pipe.execute()


def _by_model(counts: Mapping[bytes, bytes]) -> dict[str, Used]:
    found: dict[str, dict[str, int]] = {}
    for field, value in counts.items():
        what, _, model = field.decode().partition(":")
        if what in _COUNTED:
            found.setdefault(model, {})[what] = int(value)
    return {model: Used(**used) for model, used in found.items()}


def _chunks(parts: Sequence[Part]) -> list[Sequence[Part]]:
    return [parts[start : start + _AT_ONCE] for start in range(0, len(parts), _AT_ONCE)]
