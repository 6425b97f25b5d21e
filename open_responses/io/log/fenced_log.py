"""Fences a log for a new writer, and reads the events that earlier writers left in it."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from open_responses.deltas import Usage
from open_responses.io.log.fences import is_of_attempt
from open_responses.io.log.lives import NO_LIFE, Authority, new_life
from open_responses.io.log.reader_copies import ask_readers
from open_responses.io.log.writer import Fenced
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown, script
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.sample import SampleInput
from open_responses.loop.payloads.usage import TurnUsage

_SOURCE = script("log/fence_and_read.lua")
_TOUCH_STATE = script("log/touch_state.lua")


@dataclass(slots=True)
class FencedLog:
    """A model turn as the log has it.

    `turn_record` is its result, if it ended; `resume` the token by which its answer can be read again; `spent` the
    tokens of what was sampled before or beside the answer in the log: a summary, an answer that did not fit, one that
    broke off. `owner` is the fence of the newer writer, where that one refused this fence; 0 where Temporal has given
    the turn to another attempt. `life` is the log's (`lives.py`).
    """

    events: list[JsonObject]
    refused: bool = False
    owner: int = 0
    cancelled: bool = False
    turn_record: bytes | None = None
    resume: bytes | None = None
    spent: bytes | None = None
    life: bytes = NO_LIFE


async def fence_for_attempt(
    redis: Redis, call: SampleInput, fence: int, attempt: int, *, ttl: int, authority: Authority | None = None
) -> FencedLog:
    """Fence off older attempts and read the model turn's events.

    The first attempt of all can find events as well, after an operator has reset the activity or the workflow. During
    an outage of Redis the first attempt goes on without a fence, and its first append sets the fence.

    Raises Fenced, with the owner's fence, if a newer attempt owns the log, or one of an earlier run of the workflow
    under the same number, or if Redis has lost the log and Temporal has given the turn to another attempt.
    """
    is_first = call.tries == 1 and attempt == 1
    try:
        found = await fence_and_read(
            redis,
            call.response_id,
            fence,
            call.first_sequence,
            turn=call.turn,
            ttl=ttl,
            is_begun=not is_first,
            authority=authority,
        )
    except RedisDown:
        if call.epoch == 1 and attempt == 1:
            return FencedLog([])
        raise
    if found.refused:
        raise Fenced(found.owner)
    return found


async def fence_and_read(
    redis: Redis,
    response_id: str,
    fence: int,
    first_sequence: int,
    *,
    turn: int,
    ttl: int,
    is_begun: bool = True,
    authority: Authority | None = None,
) -> FencedLog:
    """The events from `first_sequence` on and what is known of the turn, with the log fenced. Raises RedisDown.

    `is_begun`: some of these events may have been sent to readers. Where Redis has lost them, they come from the copies
    that readers' processes keep.
    `authority`: its run owns the log from here on, and begins a life of a log that has none. It is queried unless this
    is the first attempt of all, which begins the log's first life.
    """
    pipe = redis.pipeline(transaction=False)
    names, first = (key_names.log(response_id), key_names.state(response_id)), f"{first_sequence + 1}-0"
    run_id, fresh = (b"", NO_LIFE) if authority is None else (authority.run_id, new_life())
    pipe.eval(_SOURCE, 2, *names, fence, ttl, first, turn, run_id, fresh)
    pipe.zscore(key_names.OPEN, response_id)
    (refused, cancelled, known, entries, is_known_lost, life), opened = await pipe.execute()
    if refused:
        return FencedLog([], refused=True, owner=int(cancelled))
    is_new = not is_begun and first_sequence == 0 and opened is not None
    if authority is not None and life == fresh and not is_new and not await authority.is_current():
        return FencedLog([], refused=True)
    events = [orjson.loads(fields[1]) for _, fields in entries]
    if is_begun and opened is None and not is_known_lost:
        # Each response is in that list before its first event: without the list, Redis has lost the log as well.
        events += await _restored(redis, response_id, fence, first_sequence + len(events), ttl)
    kept: list[bytes] = known
    record, resume, spent = [value or None for value in kept] or [None] * 3
    return FencedLog(events, cancelled=bool(cancelled), turn_record=record, resume=resume, spent=spent, life=life)


async def _restored(redis: Redis, response_id: str, fence: int, first: int, ttl: int) -> list[JsonObject]:
    """Events that the log has lost, from readers' copies.

    Without a copy the answer begins again from here. The log's field `anew` records that, because a client that
    reconnects may have received other events.
    """
    copies = await ask_readers(redis, response_id, fence, first)
    if not copies:
        # With a time to live: Redis may have lost the state too, since this attempt fenced the log.
        state = key_names.state(response_id)
        await redis.eval(_TOUCH_STATE, 1, state, key_names.CLOSED_FENCE, ttl, "anew", str(first))
    return [orjson.loads(event) for event in copies]


def paid_before(known: TurnUsage, found: FencedLog) -> Usage:
    """The tokens of the model turn's earlier attempts.

    Both sources are running totals: the workflow's, of the attempts whose results it has, and the log's, which Redis
    may have lost. The larger one is the later.
    """
    kept = TurnUsage() if found.spent is None else TurnUsage.model_validate_json(found.spent)
    return Usage(**kept.at_least(known).model_dump())


async def has_ended(redis: Redis, response_id: str) -> bool:
    """Whether the fence of the response's end is on the log, and not that of another attempt.

    False during an outage of Redis.
    """
    try:
        owner: bytes | None = await redis.hget(key_names.state(response_id), "fence")  # type: ignore[assignment]
    except RedisDown:
        return False
    return owner is not None and not is_of_attempt(int(owner))
