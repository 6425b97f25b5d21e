"""Reconnect: which events a client gets that comes back with `starting_after`, or asks for a stream once more.

While the response runs, events come from its log. After its end they are rebuilt from what is stored, to the byte. A
client that has events of an answer which was lost gets an error, and no second answer behind the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

import orjson
from fastapi import Request

from api.app_state import AppState, state_of
from api.request_ends import until_answered
from api.streaming.batches import Batch, NextBatch, in_batches
from api.streaming.follower import Follower
from open_responses.errors import InvalidRequest, NotFound
from open_responses.events.trace import Op, count_events
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.records import Record
from open_responses.io.store.repository import EndUnknown
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.finish import FinishedResponse


def starting_after(request: Request) -> int | None:
    """The last event that the client has. Raises InvalidRequest."""
    text = request.query_params.get("starting_after")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidRequest(
            "'starting_after' must be the sequence number of an event: 0, 1, 2, …", param="starting_after"
        )
    return int(text)


async def reconnect(request: Request, record: Record, after: int | None, *, only_end: bool = False) -> NextBatch:
    """The events behind `after`, or all of them, until the request is answered. `only_end`: the client needs the
    terminal event alone.

    Raises InvalidRequest when `after` is past the end of a response that has ended.
    """
    state, start, first = state_of(request), record.start, 0 if after is None else after + 1
    follower = Follower(state, start, first, only_end=only_end)
    if record.response is None:
        queue = await until_answered(request, state.hub.listen(start.response_id))
        return partial(follower.next_batch, queue)
    if await follower.is_of_another_answer():
        return partial(_lost, follower)
    trace = await _trace(state, start.response_id)
    response: JsonObject = orjson.loads(record.response)
    total = count_events(trace) + (2 if response["status"] == "failed" else 1)
    if first > total:
        raise InvalidRequest(
            f"'starting_after' is {after}, but the last event of this response is {total - 1}. Send a smaller number.",
            param="starting_after",
        )
    return partial(_next_of, in_batches(follower.replayed(response, trace, first)))


async def _trace(state: AppState, response_id: str) -> list[Op]:
    """How a response that has ended was cut into events: from Redis, or from its workflow's result.

    The end is in Redis a moment before it is in Temporal. Where Redis loses it in between, this waits for Temporal:
    without the trace, the stream would be the terminal event alone.

    Raises EndUnknown and RedisDown where neither has it, and NotFound for a response that was deleted meanwhile.
    """
    with contextlib.suppress(*RedisDown):
        if (trace := await state.store.trace(response_id)) is not None:
            return trace
    outcome = await state.records.decided_outcome(response_id)
    if isinstance(outcome, FinishedResponse):
        return outcome.trace
    if outcome == "gone":
        raise NotFound(f"Response with id {response_id!r} not found.", param="response_id")
    raise EndUnknown(response_id)


async def _lost(follower: Follower) -> Batch | None:
    """The stream of a client that has events of an answer which was lost."""
    raise follower.lost()


async def _next_of(batches: Iterator[Batch]) -> Batch | None:
    return next(batches, None)
