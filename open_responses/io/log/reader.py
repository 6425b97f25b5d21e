"""Reads event logs for the clients of a process, with one pub/sub connection for all of them.

What this prevents: a blocking connection per client, and a gap when a message is lost. Publishing is a fast hint; a
reader that finds a gap, or receives nothing for a while, reads the log itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from typing import NamedTuple, TypeAlias

from open_responses.events.event_types import TERMINAL_EVENTS
from open_responses.io.background import in_background
from open_responses.io.log.reader_copies import QUESTION, ReaderCopies
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.redis.subscription import Subscription

PAGE = 500
"""Events that `read_log` returns at most."""
MAX_WAITING = 500
"""Messages that wait for a slow reader at most. The reader notices that others were dropped, and reads them from the
log."""
_AGAIN_SECONDS = 0.1
_SUBSCRIBED_WITHIN_SECONDS = 2.0
_TERMINAL = {name.encode() for name in TERMINAL_EVENTS}


Published: TypeAlias = tuple[bytes, bytes]
"""(origin of the writer, event), both encoded."""


class Messages:
    """The messages of a response that one of its readers has not taken yet, the oldest first in `waiting`."""

    def __init__(self) -> None:
        self.waiting: deque[Published] = deque()
        self.has_gap = True
        """Whether messages may be missing since the reader looked at the log: the subscription was made, or made again,
        or there was no room. So a writer may be missing whose events the next message does not show."""
        self.subscribing: asyncio.Future[None] | None = None
        """Done when the subscription is made, or has failed; None where nothing has to be waited for."""
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Future[None] | None = None
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def subscribed(self) -> None:
        """Wait until the subscription is made, or has failed. After a failure, readers read the log every second."""
        if self.subscribing is not None and not self.subscribing.done():
            await asyncio.wait([self.subscribing], timeout=_SUBSCRIBED_WITHIN_SECONDS)

    def put(self, message: Published) -> None:
        """Add a message, or note the gap where there is no room."""
        if len(self.waiting) >= MAX_WAITING:
            self.has_gap = True
            return
        self.waiting.append(message)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def arrive(self, seconds: float) -> None:
        """Wait until there are messages, for as long as this at most. Only one task waits at a time."""
        if self.waiting:
            return
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._look)
        self._arrived = self._loop.create_future()
        try:
            await self._arrived
        finally:
            self._arrived = None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Each message moves the deadline, which costs nothing: the timer looks at it once a second."""
        self._timer = None
        if self._arrived is None:
            return
        if self._loop.time() >= self._deadline:
            self._wake()
        else:
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


def peek(event: bytes) -> tuple[bytes, int]:
    """Return type and sequence number of an encoded event without parsing it: the writer puts both first."""
    end = event.index(b'"', 9)
    start = end + 20
    return event[9:end], int(event[start : event.index(b",", start)])


def is_terminal(event: bytes) -> bool:
    """Whether an encoded event ends its stream."""
    return event[9 : event.index(b'"', 9)] in _TERMINAL


class LogHub:
    """Fans events out to this process's readers.

    After an outage, all subscriptions are made again on a new connection. The readers find the messages that they have
    missed in the log.
    """

    def __init__(self, redis: Redis, copies: ReaderCopies) -> None:
        self.copies = copies
        self._redis = redis
        self._answers: set[asyncio.Task[None]] = set()
        self._queues: dict[bytes, set[Messages]] = {}
        self._subscription: Subscription | None = None
        self._is_wanted = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()

    async def run(self) -> None:
        """Pass messages on until cancelled."""
        while True:
            with contextlib.suppress(*RedisDown):
                await self._pass_on()
            self._let_go()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _pass_on(self) -> None:
        """Over one connection, until it breaks. Raises RedisDown."""
        while not self._queues:
            self._is_wanted.clear()
            await self._is_wanted.wait()
        subscription = await Subscription.open(self._redis, self)
        try:
            subscription.subscribe(self._queues)
            self._subscription = subscription
            self._let_go()
            await subscription.ended()
        finally:
            self._subscription = None
            subscription.close()

    def confirmed(self, channel: bytes) -> None:
        """Redis confirms a subscription before it sends any message of the channel."""
        for queue in self._queues.get(channel, ()):
            queue.has_gap = True

    def message(self, channel: bytes, data: bytes) -> None:
        """From a writer to its readers."""
        origin, _, event = data.partition(b" ")
        if origin == QUESTION:
            self._answer(channel, event)
            return
        for queue in self._queues.get(channel, ()):
            queue.put((origin, event))

    def _answer(self, channel: bytes, question: bytes) -> None:
        answer = in_background("answer a writer", self.copies.answer(key_names.response_of(channel.decode()), question))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    def _let_go(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    @contextlib.asynccontextmanager
    async def listen(self, response_id: str, *, at_once: bool = False) -> AsyncIterator[Messages]:
        """Yield a queue that receives this response's events from now on.

        Args:
            response_id: The response.
            at_once: Do not wait for the subscription. The queue receives events from the end of
                `Messages.subscribed` on.
        """
        channel = key_names.channel(response_id).encode()
        queue = Messages()
        first = channel not in self._queues
        self._queues.setdefault(channel, set()).add(queue)
        try:
            if first:
                queue.subscribing = self._subscribe(channel)
                if not at_once:
                    await queue.subscribed()
            yield queue
        finally:
            queue.close()
            if queue.subscribing is not None:
                self._waiting.discard(queue.subscribing)
            listeners = self._queues[channel]
            listeners.discard(queue)
            if not listeners:
                del self._queues[channel]
                self.copies.forget(response_id)
                if self._subscription is not None:
                    self._subscription.unsubscribe([channel])

    def _subscribe(self, channel: bytes) -> asyncio.Future[None] | None:
        """Subscribe, without waiting for Redis to confirm it.

        Where there is no connection, the result is done when there is one, or none can be made.
        """
        if self._subscription is not None:
            self._subscription.subscribe([channel])
            return None
        let_go: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(let_go)
        self._is_wanted.set()
        return let_go


async def read_log(redis: Redis, response_id: str, next_sequence: int) -> list[bytes]:
    """A page of events from this sequence number on. Raises RedisDown."""
    entries: list[tuple[bytes, dict[bytes, bytes]]] = await redis.execute_command(  # type: ignore[no-untyped-call]
        "XRANGE", key_names.log(response_id), f"{next_sequence + 1}-0", "+", "COUNT", PAGE
    )
    return [fields[b"e"] for _, fields in entries]


class Page(NamedTuple):
    """`events` as `read_log` returns them.

    `origin` is that of the last writer, empty where it is not known; `origins` are those of the writers before it
    (`written_since`). `anew` is the sequence number from which on the log may differ from what clients were sent before
    it was lost; None if it was not lost.
    """

    events: list[bytes]
    origin: bytes
    origins: bytes
    anew: int | None


async def read_page(redis: Redis, response_id: str, next_sequence: int) -> Page:
    """Do the same as `read_log`, and return the state of the log as well. Raises RedisDown."""
    pipe = redis.pipeline(transaction=True)
    pipe.execute_command("XRANGE", key_names.log(response_id), f"{next_sequence + 1}-0", "+", "COUNT", PAGE)
    pipe.hmget(key_names.state(response_id), ["origin", "origins", "anew"])
    entries, (origin, origins, anew) = await pipe.execute()
    return Page([fields[b"e"] for _, fields in entries], origin or b"", origins or b"", _number(anew))


async def begun_anew_at(redis: Redis, response_id: str) -> int | None:
    """`Page.anew`. Raises RedisDown."""
    return _number(await redis.hget(key_names.state(response_id), "anew"))  # type: ignore[arg-type]


def _number(field: bytes | None) -> int | None:
    return None if field is None else int(field)
