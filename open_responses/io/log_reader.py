"""The reading side of the event log: one pub/sub connection a process, however many clients listen.

What this prevents: a blocking connection per client, and a gap when a message is lost. Publishing is a fast hint; a
reader that sees a hole, or hears nothing for a while, reads the log itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple, TypeAlias

import structlog

from open_responses.fold import TERMINAL_EVENTS
from open_responses.io import keys
from open_responses.io.redis import Redis, RedisDown

log = structlog.get_logger(__name__)

PAGE = 500
"""Events that `read_log` returns at most."""
# What a reader that does not keep up may have waiting. What is dropped here, it finds missing, and reads from the log.
_MAX_WAITING = 500
# What a call on the shared subscription may end with: redis-py reconnects in whoever notices first, and who comes in
# the middle of that finds half a connection.
_BROKEN = (*RedisDown, RuntimeError, AttributeError)
_TERMINAL = {name.encode() for name in TERMINAL_EVENTS}


Published: TypeAlias = tuple[bytes, bytes]
"""(origin of the writer, event), both encoded."""


class Origin(NamedTuple):
    """Who wrote: a try, by its fence, and the sequence number of the first event of its own.

    What a try found in the log before that, it went on from.
    """

    fence: int
    begin: int

    @classmethod
    def of(cls, encoded: bytes) -> Origin:
        fence, _, begin = encoded.partition(b"-")
        return cls(int(fence), int(begin))


def peek(event: bytes) -> tuple[bytes, int]:
    """Type and sequence number of an encoded event, without parsing it: both come first, the writer sees to that."""
    end = event.index(b'"', 9)
    start = end + 20
    return event[9:end], int(event[start : event.index(b",", start)])


def is_terminal(event: bytes) -> bool:
    return event[9 : event.index(b'"', 9)] in _TERMINAL


class LogHub:
    """Fans events out to this process's readers."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._queues: dict[bytes, set[asyncio.Queue[Published]]] = {}
        self._pubsub = redis.pubsub(ignore_subscribe_messages=True)
        self._lock = asyncio.Lock()

    async def run(self) -> None:
        """Pass messages on until cancelled. After an outage the subscriptions are made again."""
        while True:
            if not self._queues:
                await asyncio.sleep(0.02)
                continue
            try:
                message = await self._pubsub.get_message(timeout=30)
            except _BROKEN:
                await asyncio.sleep(0.1)
                await self._resubscribe()
                continue
            if message is not None:
                origin, _, event = message["data"].partition(b" ")
                for queue in self._queues.get(message["channel"], ()):
                    if not queue.full():
                        queue.put_nowait((origin, event))

    async def _resubscribe(self) -> None:
        async with self._lock:
            with contextlib.suppress(*_BROKEN):
                await self._pubsub.aclose()  # type: ignore[no-untyped-call]
            self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
            with contextlib.suppress(*_BROKEN):
                if self._queues:
                    await self._pubsub.subscribe(*self._queues)

    @contextlib.asynccontextmanager
    async def listen(self, response_id: str) -> AsyncIterator[asyncio.Queue[Published]]:
        """A queue of this response's events from now on."""
        channel = keys.channel(response_id).encode()
        queue: asyncio.Queue[Published] = asyncio.Queue(_MAX_WAITING)
        first = channel not in self._queues
        self._queues.setdefault(channel, set()).add(queue)
        try:
            if first:
                await self._subscribe(channel)
            yield queue
        finally:
            listeners = self._queues[channel]
            listeners.discard(queue)
            if not listeners:
                del self._queues[channel]
                with contextlib.suppress(*_BROKEN):
                    await self._pubsub.unsubscribe(channel)

    async def _subscribe(self, channel: bytes) -> None:
        try:
            async with self._lock:
                await self._pubsub.subscribe(channel)
        except _BROKEN:
            await self._resubscribe()


async def read_log(redis: Redis, response_id: str, next_sequence: int) -> list[bytes]:
    """A page of events from this sequence number on. Raises RedisDown."""
    entries: list[tuple[bytes, dict[bytes, bytes]]] = await redis.execute_command(  # type: ignore[no-untyped-call]
        "XRANGE", keys.log(response_id), f"{next_sequence + 1}-0", "+", "COUNT", PAGE
    )
    return [fields[b"e"] for _, fields in entries]


async def read_page(redis: Redis, response_id: str, next_sequence: int) -> tuple[list[bytes], bytes]:
    """As `read_log`, with the origin of whoever wrote to this log last; empty where that is not known."""
    pipe = redis.pipeline(transaction=True)
    pipe.execute_command("XRANGE", keys.log(response_id), f"{next_sequence + 1}-0", "+", "COUNT", PAGE)
    pipe.hget(keys.state(response_id), "origin")
    entries, origin = await pipe.execute()
    return [fields[b"e"] for _, fields in entries], origin or b""
