"""The way of an event through an API process: from the message of Redis to the client's socket."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from api.body_sends import BodySends
from api.connections.http import BoundedHttp
from api.connections.slow_readers import SlowReaders
from api.responses.follow import subscribed
from api.streaming.sse import EventStream
from benchmarks.calls.counter import Counted, counting
from benchmarks.calls.redis_of_memory import Pipe, RedisOfMemory
from benchmarks.load.order import words
from open_responses.io.log.encoding import encode
from open_responses.io.log.reader import LogHub
from open_responses.io.log.reader_copies import ReaderCopies
from open_responses.io.redis import key_names
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse


class Api:
    """Some clients, each with a stream of its own. A round is one read from Redis with events for each of them."""

    def __init__(self, names: Sequence[str], redis: Pipe, clients: Sequence[Pipe]) -> None:
        self._names = names
        self._redis = redis
        self.clients = clients
        self._next = 0

    def reads(self, rounds: int, deltas: int) -> list[bytes]:
        """What Redis sends in so many rounds."""
        first, self._next = self._next, self._next + rounds * deltas
        events = [[_delta(sequence) for sequence in range(n, n + deltas)] for n in range(first, self._next, deltas)]
        return [b"".join(_message(name, event) for event in each for name in self._names) for each in events]

    async def round(self, deltas: int) -> None:
        await self._pass_on(self.reads(1, deltas))

    async def _pass_on(self, reads: Sequence[bytes]) -> None:
        """Bring one read after the other, and wait until all clients were written to."""
        for data in reads:
            for client in self.clients:
                client.taken.clear()
            self._redis.feed(data)
            await _until(lambda: all(client.taken for client in self.clients))

    async def counted(self, rounds: int, deltas: int) -> Counted:
        reads = self.reads(rounds, deltas)
        with counting() as counted:
            await self._pass_on(reads)
        return counted

    async def seconds(self, rounds: int, deltas: int) -> float:
        """CPU of the process."""
        reads = self.reads(rounds, deltas)
        began = time.process_time()
        await self._pass_on(reads)
        return time.process_time() - began


@asynccontextmanager
async def api(streams: int) -> AsyncIterator[Api]:
    """Begin the streams. They have no end: their clients go away."""
    redis = RedisOfMemory()
    redis.pipe = Pipe()
    hub = LogHub(cast(Any, redis), ReaderCopies(cast(Any, redis), limit_bytes=1 << 26))
    passing = asyncio.create_task(hub.run())
    names = [f"resp_{number}" for number in range(streams)]
    eraser = SimpleNamespace(erase_soon=lambda _: None)
    state = SimpleNamespace(redis=redis, hub=hub, eraser=eraser)
    with contextlib.ExitStack() as ends:
        ends.callback(passing.cancel)
        clients = [_client(_app(state, name)) for name in names]
        await _until(lambda: redis.pipe.protocol is not None and all(client.taken for client in clients))
        live = Api(names, redis.pipe, clients)
        for _ in range(3):
            await live.round(1)
        yield live
        for client in clients:
            client.protocol.connection_lost(None)
        await asyncio.sleep(0.01)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - each turn of the event loop may be the last
        await asyncio.sleep(0)


def _app(state: Any, response_id: str) -> ASGIApp:
    asked = CreateResponse.model_validate({"model": "model-1", "input": "How is the river?", "stream": True})
    start = StartResponse(
        response_id=response_id,
        tenant="default",
        created_at=0,
        request=asked,
        provider="bench",
        upstream_model="model-1",
        retry_window=60,
    )

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async with subscribed(state, start) as subscription:
            await EventStream(subscription.next_batch, keepalive_seconds=15)(scope, receive, send)

    return BodySends(SlowReaders(answer, seconds=60, socket_seconds=60))


def _client(app: ASGIApp) -> Pipe:
    config = uvicorn.Config(cast(Any, app), http=BoundedHttp, access_log=False, log_config=None, lifespan="off")
    config.load()
    protocol, pipe = BoundedHttp(config=config, server_state=ServerState(), app_state={}), Pipe()
    pipe.set_protocol(protocol)
    protocol.connection_made(pipe)
    pipe.feed(b"POST /v1/responses HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\n\r\n")
    return pipe


_WORDS = words(50)


def _delta(sequence: int) -> bytes:
    event = {"item_id": "msg_68af4033a2", "output_index": 0, "content_index": 0}
    text = _WORDS[sequence % len(_WORDS)]
    return encode({"type": "response.output_text.delta", **event, "delta": text, "logprobs": []}, sequence)


def _message(response_id: str, event: bytes) -> bytes:
    channel, data = key_names.channel(response_id).encode(), b"1-0 " + event
    return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(channel), channel, len(data), data)
