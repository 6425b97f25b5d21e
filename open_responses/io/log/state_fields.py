"""Reads fields of a log's state in Redis: the output items so far, and the log's last writer."""

from __future__ import annotations

import orjson

from open_responses.io.log.encoding import item_field
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.usage import TurnUsage

COST = "cost"


async def read_items(redis: Redis, response_id: str, length: int) -> list[JsonObject]:
    """The first `length` output items; fewer if Redis has lost some. Raises RedisDown."""
    found = await redis.hmget(key_names.state(response_id), [item_field(i) for i in range(length)])
    return [orjson.loads(item) for item in found if item is not None]


def cost_field(usage: TurnUsage | None) -> dict[str, bytes]:
    """The field with the cost of a response that ends, in US dollars, if all of it is known."""
    cost = None if usage is None else usage.whole_cost
    return {} if cost is None else {COST: orjson.dumps(cost)}


async def read_last_writer(redis: Redis, response_id: str) -> tuple[int | None, bytes | None]:
    """The fence of the log's owner, and the workflow's run that wrote last; None where unknown. Raises RedisDown."""
    found: list[bytes | None] = await redis.hmget(key_names.state(response_id), ["fence", "run"])  # type: ignore[assignment]
    fence, run = found
    return None if fence is None else int(fence), run
