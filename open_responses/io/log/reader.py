"""Reads event logs for the clients of a process, with one pub/sub connection for all of them.

What this prevents: a blocking connection per client, and a gap when a message is lost. Publishing is a fast hint; a
reader that finds a gap, or receives nothing for a while, reads the log itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, TypeAlias

from open_responses.events.event_types import TERMINAL_EVENTS
from open_responses.io.background import end_tasks, in_background
from open_responses.io.log.reader_copies import QUESTION, ReaderCopies
from open_responses.io.redis import key_names
from open_responses.io.redis.client import AbstractConnection, PubSub, Redis, RedisDown

PAGE = 500
"""Events that `read_log` returns at most."""
# The most messages that wait for a slow reader. The reader notices that messages were dropped, and reads them from the
# log.
_MAX_WAITING = 500
_LISTEN_SECONDS = 1.0
_AGAIN_SECONDS = 0.1
_SUBSCRIBED_WITHIN_SECONDS = 2.0
# The errors of a call on a subscription that was cut or closed meanwhile.
_BROKEN = (*RedisDown, RuntimeError, AttributeError)
_TERMINAL = {name.encode() for name in TERMINAL_EVENTS}


Published: TypeAlias = tuple[bytes, bytes]
"""(origin of the writer, event), both encoded."""


class Messages(asyncio.Queue[Published]):
    """The messages of a response that one of its readers has not taken yet."""

    has_gap = True
    """Whether messages may be missing since the reader looked at the log: the subscription was made, or made again, or
    there was no room. So a writer may be missing whose events the next message does not show."""
    subscribing: asyncio.Future[None] | None = None

    async def subscribed(self) -> None:
        """Wait until the subscription is made, or has failed. After a failure, readers read the log every second."""
        if self.subscribing is not None and not self.subscribing.done():
            await asyncio.wait([self.subscribing], timeout=_SUBSCRIBED_WITHIN_SECONDS)


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

    Only `run` uses the one connection. redis-py repairs a broken connection in the call that notices it, and loses the
    subscription that another call has just made. This hub closes a broken connection, and makes all subscriptions again
    on a new one.
    """

    def __init__(self, redis: Redis, copies: ReaderCopies) -> None:
        self.copies = copies
        self._redis = redis
        self._answers: set[asyncio.Task[None]] = set()
        self._queues: dict[bytes, set[Messages]] = {}
        self._changed = asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []

    async def run(self) -> None:
        """Pass messages on until cancelled. After an outage the subscriptions are made again."""
        while True:
            pubsub = _OneConnection(self._redis.connection_pool)
            connected = asyncio.Event()
            tasks = [
                asyncio.create_task(self._subscribe(pubsub, connected)),
                asyncio.create_task(self._read(pubsub, connected)),
            ]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end_tasks(tasks)
                with contextlib.suppress(*_BROKEN):
                    await pubsub.aclose()  # type: ignore[no-untyped-call]
            for task in tasks:
                if not task.cancelled() and not isinstance(task.exception(), _BROKEN):
                    task.result()
            # The readers find the missing messages in the log.
            self._let_go()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _subscribe(self, pubsub: PubSub, connected: asyncio.Event) -> None:
        """Keep the subscriptions equal to the channels that have readers."""
        subscribed: set[bytes] = set()
        while True:
            self._changed.clear()
            wanted = set(self._queues)
            waiting, self._waiting = self._waiting, []
            try:
                if new := wanted - subscribed:
                    await pubsub.subscribe(*new)
                if old := subscribed - wanted:
                    await pubsub.unsubscribe(*old)
            finally:
                self._waiting += waiting
            if wanted:
                connected.set()
            subscribed = wanted
            self._let_go(waiting)
            await self._changed.wait()

    async def _read(self, pubsub: PubSub, connected: asyncio.Event) -> None:
        await connected.wait()
        while True:
            message = await pubsub.get_message(timeout=_LISTEN_SECONDS)
            if message is None:
                continue
            if message["type"] != "message":
                # Redis confirms a subscription before it sends any message of the channel.
                for queue in self._queues.get(message["channel"], ()):
                    queue.has_gap = True
                continue
            origin, _, event = message["data"].partition(b" ")
            if origin == QUESTION:
                self._answer(message["channel"], event)
                continue
            for queue in self._queues.get(message["channel"], ()):
                if queue.full():
                    queue.has_gap = True
                else:
                    queue.put_nowait((origin, event))

    def _answer(self, channel: bytes, question: bytes) -> None:
        answer = in_background("answer a writer", self.copies.answer(key_names.response_of(channel.decode()), question))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    def _let_go(self, waiting: Sequence[asyncio.Future[None]] | None = None) -> None:
        for future in list(self._waiting) if waiting is None else waiting:
            if not future.done():
                future.set_result(None)
            self._waiting.remove(future)

    @contextlib.asynccontextmanager
    async def listen(self, response_id: str, *, at_once: bool = False) -> AsyncIterator[Messages]:
        """Yield a queue that receives this response's events from now on.

        Args:
            response_id: The response.
            at_once: Do not wait for the subscription. The queue receives events from the end of
                `Messages.subscribed` on.
        """
        channel = key_names.channel(response_id).encode()
        queue = Messages(_MAX_WAITING)
        first = channel not in self._queues
        self._queues.setdefault(channel, set()).add(queue)
        try:
            if first:
                queue.subscribing = self._subscribed()
                if not at_once:
                    await queue.subscribed()
            yield queue
        finally:
            listeners = self._queues[channel]
            listeners.discard(queue)
            if not listeners:
                del self._queues[channel]
                self.copies.forget(response_id)
                self._changed.set()

    def _subscribed(self) -> asyncio.Future[None]:
        """Ask for the subscription. The result is done when it is made, or has failed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._changed.set()
        return done


class _OneConnection(PubSub):
    """A subscription that ends with its connection. redis-py would otherwise reconnect by itself."""

    async def on_connect(self, connection: AbstractConnection) -> None:
        raise ConnectionError("the connection was cut")


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
