"""The newest takeovers of dead workers, for operators: when, which worker, and which responses went on elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis

_MOST_KEPT = 100
_TTL_SECONDS = 7 * 24 * 3600
MOST_RESPONSES = 20
"""The most ids of responses in one entry."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """A dead worker's activities that another worker reported as lost.

    Attributes:
        at: When the takeover was complete, in Unix seconds.
        worker: The dead worker.
        by: The worker that took over.
        activities: How many activities the dead worker ran.
        responses: The responses that these belong to, at most `MOST_RESPONSES`.
        silence_seconds: The time since the dead worker's last renewal of its lease; None if its death was announced.
    """

    at: float
    worker: str
    by: str
    activities: int
    responses: Sequence[str]
    silence_seconds: float | None


async def note_takeover(redis: Redis, takeover: Takeover) -> None:
    """Add one to the list. Raises RedisDown."""
    pipe = redis.pipeline(transaction=True)
    pipe.lpush(key_names.TAKEOVERS, orjson.dumps(asdict(takeover)))
    pipe.ltrim(key_names.TAKEOVERS, 0, _MOST_KEPT - 1)
    pipe.expire(key_names.TAKEOVERS, _TTL_SECONDS)
    await pipe.execute()


async def newest_takeovers(redis: Redis, limit: int) -> list[Takeover]:
    """The newest first. Raises RedisDown."""
    return [Takeover(**orjson.loads(entry)) for entry in await redis.lrange(key_names.TAKEOVERS, 0, limit - 1)]
