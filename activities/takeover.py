"""What an earlier try left in the log, after it has been shut out."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from open_responses.fold import Fold
from open_responses.io import keys
from open_responses.io.event_log import Fenced
from open_responses.io.redis import Redis, script
from open_responses.json_types import JsonObject
from open_responses.payloads import SampleInput

_SOURCE = script("takeover")


@dataclass(slots=True)
class Takeover:
    """The turn so far. `fold` is to be brought up to date with `events` by whoever writes on."""

    fold: Fold
    events: list[JsonObject]
    cancelled: bool = False
    turn_record: bytes | None = None


async def take_over(redis: Redis, call: SampleInput, fence: int, attempt: int, *, ttl: int) -> Takeover:
    """Shut out older tries and read the turn's events. Raises Fenced when a newer try was here before us.

    The very first try has nothing to read; its first append sets the fence.
    """
    fold = Fold([{} for _ in range(call.first_output_index)])
    if call.epoch == 1 and attempt == 1:
        return Takeover(fold, [])
    refused, cancelled, state, entries = await read_log(redis, call.response_id, fence, call.first_sequence, ttl=ttl)
    if refused:
        raise Fenced
    fields = dict(zip(state[::2], state[1::2], strict=True))
    return Takeover(fold, entries, bool(cancelled), fields.get(f"turn:{call.turn}".encode()))


async def read_log(
    redis: Redis, response_id: str, fence: int, first_sequence: int, *, ttl: int
) -> tuple[bool, bool, list[bytes], list[JsonObject]]:
    """(refused, cancelled, state as a flat list, events from `first_sequence` on), with the log fenced."""
    refused, cancelled, state, entries = await redis.eval(
        _SOURCE, 2, keys.log(response_id), keys.state(response_id), fence, ttl, f"{first_sequence + 1}-0"
    )
    return bool(refused), bool(cancelled), state, [orjson.loads(fields[1]) for _, fields in entries]
