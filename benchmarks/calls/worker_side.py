"""The way of a delta through a worker: from the provider's socket to the acknowledged append."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from activities.providers.registry import build_providers
from activities.providers.shared.http import open_http_client
from activities.sampling.answer_meter import AnswerMeter
from activities.sampling.attempt_progress import AttemptProgress
from activities.sampling.attempt_state import AttemptState, SampleAttempt, SampleParts
from activities.sampling.background_generation import BackgroundAnswer
from activities.sampling.context import Context
from activities.sampling.model_answer import ModelAnswer
from benchmarks.calls.counter import Counted, counting
from benchmarks.calls.redis_of_memory import RedisOfMemory
from benchmarks.load.order import words
from benchmarks.load.wire import END, Answer
from open_responses.config import Config, ProviderConfig
from open_responses.contracts import SampleCall
from open_responses.deltas import Finish
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.io.files.inlined import NamedFiles
from open_responses.io.log.appender import Appender
from open_responses.io.log.writer import Writer
from open_responses.io.prices.price_table import PriceTable
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.loop.payloads.sample import SampleInput
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from open_responses.tool_use.tool_table import ToolTable

_REQUEST = CreateResponse.model_validate({"model": "model-1", "input": "How is the river?", "stream": True})


class Worker:
    """Some streams that have begun, of one adapter. A round is one write of the provider on each of them."""

    def __init__(self, sockets: Sequence[socket.socket], redis: RedisOfMemory, answer: Answer) -> None:
        self._sockets = sockets
        self._redis = redis
        self.left = iter(answer.tokens)

    async def round(self, deltas: int) -> None:
        """Send so many deltas in one write on each stream, and wait until their events are appended."""
        data = b"".join(next(self.left) for _ in range(deltas))
        appended = asyncio.ensure_future(self._redis.appended(len(self._sockets)))
        for sock in self._sockets:
            sock.send(data)
        await appended

    async def counted(self, rounds: int, deltas: int) -> Counted:
        with counting() as counted:
            for _ in range(rounds):
                await self.round(deltas)
        return counted

    async def seconds(self, rounds: int, deltas: int) -> float:
        """CPU of the process."""
        began = time.process_time()
        for _ in range(rounds):
            await self.round(deltas)
        return time.process_time() - began


@asynccontextmanager
async def worker(adapter: str, answer: Answer, streams: int) -> AsyncIterator[Worker]:
    """Begin the streams, and end them at the end. Raises AssertionError for a stream that lost text."""
    redis, loop = RedisOfMemory(), asyncio.get_running_loop()
    listening = socket.create_server(("127.0.0.1", 0), backlog=1000)
    listening.setblocking(False)
    config = ProviderConfig(name="bench", adapter=adapter, base_url=f"http://127.0.0.1:{listening.getsockname()[1]}/v1")
    async with open_http_client() as http, contextlib.AsyncExitStack() as ends:
        appender = Appender(cast(Any, redis), ttl_seconds=60)
        appending = asyncio.create_task(appender.run())
        ends.callback(appending.cancel)
        parts = _parts(config, http, appender)
        finished: list[asyncio.Task[tuple[Finish, str]]] = []
        sockets: list[socket.socket] = []
        for number in range(streams):
            finished.append(asyncio.create_task(_stream(parts, f"resp_{number}")))
            sock, _ = await loop.sock_accept(listening)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_recv(sock, 65536)
            await loop.sock_sendall(sock, answer.opening + answer.start)
            sockets.append(sock)
        live = Worker(sockets, redis, answer)
        yield live
        rest = b"".join(live.left) + answer.closing + END
        for sock in sockets:
            await loop.sock_sendall(sock, rest)
        whole = "".join(words(len(answer.tokens)))
        for finish, text in await asyncio.gather(*finished):
            assert (finish.reason, text) == ("stop", whole), "a stream brought another text than the provider's"
        for sock in (*sockets, listening):
            sock.close()


def _parts(config: ProviderConfig, http: Any, appender: Appender) -> SampleParts:
    providers = (config,)
    none = cast(Any, None)
    return SampleParts(
        redis=none,
        contexts=none,
        appender=appender,
        breaker=none,
        quotas=none,
        prices=PriceTable(providers),
        providers=build_providers(Config(providers=providers), http, {}),
        adapters={config.name: config.adapter},
        definitions={},
        middleware=(),
        counters=none,
        sealer=none,
        schema_checks=SchemaChecks(),
        log_ttl_seconds=60,
    )


async def _stream(parts: SampleParts, response_id: str) -> tuple[Finish, str]:
    """One attempt at a model turn behind its context and its fence (`activities/sampling/attempt.py`)."""
    called = SampleInput(
        response_id=response_id,
        turn=0,
        epoch=1,
        provider="bench",
        upstream_model="model-1",
        retry_window=60,
        first_sequence=0,
        first_output_index=0,
    )
    start = StartResponse(
        response_id=response_id,
        tenant="default",
        created_at=0,
        request=_REQUEST,
        provider="bench",
        upstream_model="model-1",
        retry_window=60,
    )
    writer = Writer(parts.appender, response_id, fence=1, initial=start.initial(), fold=Fold())
    attempt = SampleAttempt(parts, called, 1, lambda: None, BackgroundAnswer(response_id), cast(Any, None))
    context = Context(start, start.input_items(), [], NamedFiles({}))
    state = AttemptState(attempt, context, ToolTable(), writer, AnswerMeter(parts.bounds), AttemptProgress())
    assembler = Assembler(writer.fold, state.tool_table, response_id)
    sampled = SampleCall(model="model-1", items=context.items, request=_REQUEST)
    finish = await ModelAnswer(state, assembler).stream(sampled)
    writer.write(assembler.feed(finish))
    writer.write(assembler.close("completed"))
    await writer.flush()
    return finish, writer.fold.output[0]["content"][0]["text"]
