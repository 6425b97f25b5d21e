"""Restores an event log from what its readers were sent, when Redis and the log's writer are lost together.

What this prevents: a stream that ends with `stream_lost` although the API has all of its events. Each API process keeps
the events that it sent to readers of running responses, within a bound on memory. A worker that fences a log which
Redis has lost requests the copies of these processes, and continues after the longest one.

The worker publishes its question on the channel of the log's events, so exactly the processes with readers receive it.
Each process writes its answer into a hash in Redis, even if the answer is empty, so that the worker knows for how many
answers it has to wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import structlog

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.redis.key_names import CLOSED_FENCE

log = structlog.get_logger(__name__)

QUESTION = b"?"
"""The first word of such a message, where the channel's other messages have their writer's origin."""

# A larger copy is not worth its memory: its stream ends with `stream_lost`, as it would without copies.
_LARGEST_COPY_BYTES = 8 * 2**20
_OBJECT_BYTES = 40
_ANSWERS_SECONDS = 60
# A running API process answers within milliseconds; one that has just lost its connection subscribes again within this
# time.
_PATIENCE_SECONDS = 1.0
_SUBSCRIBED_AGAIN_SECONDS = 0.5
_LOOK_AGAIN_SECONDS = 0.02
# A response that was erased after the question must leave nothing.
_ANSWER = """
if redis.call('HGET', KEYS[1], 'fence') == ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return 1
"""


@dataclass(slots=True)
class Copy:
    """Consecutive events of one stream as they were sent, from sequence number `first` on."""

    first: int = 0
    events: list[bytes] = field(default_factory=list)
    size: int = 0

    def from_(self, sequence: int) -> list[bytes]:
        """The events from this sequence number on; none where the copy begins behind it."""
        return self.events[sequence - self.first :] if sequence >= self.first else []


class ReaderCopies:
    """The copies of one API process, of at most `limit_bytes`; the oldest copies go first."""

    def __init__(self, redis: Redis, *, limit_bytes: int) -> None:
        self._redis = redis
        self._limit = limit_bytes
        self._name = uuid4().hex
        self._copies: OrderedDict[str, Copy | None] = OrderedDict()
        self._size = 0

    def add(self, response_id: str, first: int, events: Sequence[bytes]) -> None:
        """Keep consecutive events that a reader was sent, numbered from `first`.

        Readers of one response share a copy: events that it has are left out.
        """
        if response_id not in self._copies:
            self._copies[response_id] = Copy(first)
        copy = self._copies[response_id]
        if copy is None:
            return
        known = copy.first + len(copy.events) - first
        if not 0 <= known < len(events):
            return
        new = events[known:] if known else events
        copy.events += new
        size = sum(map(len, new)) + len(new) * _OBJECT_BYTES
        copy.size += size
        self._size += size
        if copy.size > _LARGEST_COPY_BYTES:
            self.give_up(response_id)
        while self._size > self._limit:
            self.give_up(next(one for one, kept in self._copies.items() if kept is not None))

    def give_up(self, response_id: str) -> None:
        """Keep nothing more of this stream while it is read."""
        copy = self._copies.get(response_id)
        self._copies[response_id] = None
        self._size -= copy.size if copy is not None else 0

    def forget(self, response_id: str) -> None:
        """Drop the copy, because the stream has no reader any more."""
        copy = self._copies.pop(response_id, None)
        self._size -= copy.size if copy is not None else 0

    async def answer(self, response_id: str, question: bytes) -> None:
        """Answer a worker's question: `{fence} {sequence number of the first event that is wanted}`."""
        fence, _, first = question.partition(b" ")
        copy = self._copies.get(response_id)
        events = copy.from_(int(first)) if copy is not None else []
        key = key_names.reader_copies(response_id, int(fence))
        try:
            state, copied = key_names.state(response_id), b"\n".join(events)
            await self._redis.eval(_ANSWER, 2, state, key, CLOSED_FENCE, _ANSWERS_SECONDS, self._name, copied)
        except RedisDown as error:
            log.warning("copy_not_sent", response_id=response_id, reason=str(error))
        else:
            log.info("copy_sent", response_id=response_id, events=len(events))


async def ask_readers(redis: Redis, response_id: str, fence: int, first: int) -> list[bytes]:
    """The events from sequence number `first` on that readers were sent, encoded. Raises RedisDown.

    This is the longest copy, if all other copies are its beginning. If the copies differ, none can be preferred, and
    the result is empty.
    """
    asked = await _ask(redis, response_id, fence, first)
    answers = await _answers(redis, key_names.reader_copies(response_id, fence), asked) if asked else []
    copies = [answer.split(b"\n") if answer else [] for answer in answers]
    longest = max(copies, key=len, default=[])
    agree = all(longest[: len(copy)] == copy for copy in copies)
    log.warning("log_lost", response_id=response_id, asked=asked, answers=len(copies), restored=len(longest) * agree)
    return longest if agree else []


async def _answers(redis: Redis, key: str, asked: int) -> list[bytes]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        answers: list[bytes] = await redis.hvals(key)  # type: ignore[assignment]
        if len(answers) >= asked or time.monotonic() > deadline:
            return answers
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)


async def _ask(redis: Redis, response_id: str, fence: int, first: int) -> int:
    """Publish the question, and return the number of processes that received it.

    After a restart of Redis, the processes have to subscribe again first.
    """
    deadline = time.monotonic() + _SUBSCRIBED_AGAIN_SECONDS
    while True:
        asked = await redis.publish(key_names.channel(response_id), b"%s %d %d" % (QUESTION, fence, first))
        if asked or time.monotonic() > deadline:
            return int(asked)
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)
