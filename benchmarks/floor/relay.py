"""Two bare processes that carry a provider's stream to a client through Redis, as the product's worker and API do.

`python -m benchmarks.floor.relay reader REDIS_PORT PROVIDER_PORT` reads the provider, parses each chunk, makes an event
of it, appends it to a stream in Redis and publishes it. `… sender REDIS_PORT PORT` answers HTTP requests with what is
published. Both use uvloop, hiredis and orjson, and nothing between these and the sockets. They have no fences, no
retries, no items, no usage, no limits, no checks and no store: what they cost, every pair of Python processes costs.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis
import orjson
import uvloop

ASKS = b"asks"
_SCRIPT = (
    "for i = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'e', ARGV[i]); redis.call('PUBLISH', ARGV[1], ARGV[i]) end "
    "redis.call('EXPIRE', KEYS[1], 60) return 1"
)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_DATA = b"data: "
_LAST = b"[DONE]"


class _Redis(asyncio.Protocol):
    """One connection. Replies go to `reply`."""

    def __init__(self, reply: Callable[[Any], None]) -> None:
        self._reader = hiredis.Reader()
        self._reply = reply
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, *commands: Sequence[bytes | str | int]) -> None:
        assert self._transport is not None
        packed = (hiredis.pack_command(tuple(command)) for command in commands)  # type: ignore[arg-type]
        self._transport.write(b"".join(packed))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self._reply(reply)


async def _connected(port: int, reply: Callable[[Any], None]) -> _Redis:
    _, connection = await asyncio.get_running_loop().create_connection(lambda: _Redis(reply), "127.0.0.1", port)
    return connection


class Reader:
    """Reads the provider for each request that is published on `ASKS`."""

    def __init__(self, provider_port: int) -> None:
        self.provider_port = provider_port
        self.idle: list[_Answer] = []
        self._pending: dict[bytes, list[bytes]] = {}
        self._under_way = 0
        self._script = b""
        self._commands: _Redis | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, redis_port: int) -> None:
        self._commands = await _connected(redis_port, self._replied)
        self._commands.send(("SCRIPT", "LOAD", _SCRIPT))
        asks = await _connected(redis_port, self._asked)
        asks.send(("SUBSCRIBE", ASKS))
        await asyncio.get_running_loop().create_future()

    def append(self, key: bytes, event: bytes) -> None:
        """Append with the next pipeline: at once if none is under way, as the product's appender does."""
        self._pending.setdefault(key, []).append(event)
        self._send()

    def _send(self) -> None:
        if self._under_way or not self._pending:
            return
        assert self._commands is not None
        self._under_way = len(self._pending)
        self._commands.send(*(("EVALSHA", self._script, 1, key, key, *events) for key, events in self._pending.items()))
        self._pending = {}

    def _replied(self, reply: Any) -> None:
        if not self._script:
            self._script = reply
            return
        self._under_way -= 1
        self._send()

    def _asked(self, reply: Any) -> None:
        if reply[0] == b"message":
            key, _, prompt = reply[2].partition(b" ")
            task = asyncio.ensure_future(self._read(key, prompt))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read(self, key: bytes, prompt: bytes) -> None:
        if self.idle:
            answer = self.idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, answer = await loop.create_connection(lambda: _Answer(self), "127.0.0.1", self.provider_port)
        answer.ask(key, prompt)


class _Answer(asyncio.Protocol):
    """One connection to the provider, and the answer that is read from it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._transport: asyncio.Transport | None = None
        self._key, self._number, self._rest = b"", 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, key: bytes, prompt: bytes) -> None:
        assert self._transport is not None
        self._key, self._number, self._rest = key, 0, b""
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: provider\r\nContent-Length: %d\r\n\r\n" % len(prompt)
        self._transport.write(head + prompt)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not line.startswith(_DATA):
                continue
            text = line[len(_DATA) :]
            if text == _LAST:
                self._reader.append(self._key, _LAST)
                self._reader.idle.append(self)
                return
            for choice in orjson.loads(text)["choices"]:
                if delta := choice["delta"].get("content"):
                    self._append(delta)

    def _append(self, delta: str) -> None:
        event = {
            "type": "response.output_text.delta",
            "sequence_number": self._number,
            "item_id": "msg_0",
            "output_index": 0,
            "content_index": 0,
            "delta": delta,
            "logprobs": [],
        }
        self._number += 1
        self._reader.append(self._key, orjson.dumps(event))


class Sender:
    """Answers HTTP requests with the events that are published for them."""

    def __init__(self) -> None:
        self._count = 0
        self._clients: dict[bytes, asyncio.Transport] = {}
        self._commands: _Redis | None = None
        self._events: _Redis | None = None
        self._prompts: dict[bytes, bytes] = {}

    async def run(self, redis_port: int, port: int) -> None:
        self._commands = await _connected(redis_port, lambda reply: None)
        self._events = await _connected(redis_port, self._received)
        server = await asyncio.get_running_loop().create_server(lambda: _Request(self), "127.0.0.1", port, backlog=2048)
        await server.serve_forever()

    def ask(self, prompt: bytes, client: asyncio.Transport) -> None:
        assert self._events is not None
        self._count += 1
        key = b"floor:%d" % self._count
        self._clients[key], self._prompts[key] = client, prompt
        self._events.send(("SUBSCRIBE", key))

    def _received(self, reply: Any) -> None:
        assert self._commands is not None
        assert self._events is not None
        kind, key = reply[0], reply[1]
        if kind == b"subscribe":
            self._clients[key].write(_HEAD)
            self._commands.send(("PUBLISH", ASKS, key + b" " + self._prompts.pop(key)))
        elif kind == b"message":
            event = reply[2]
            if event == _LAST:
                self._clients.pop(key).write(b"0\r\n\r\n")
                self._events.send(("UNSUBSCRIBE", key))
                return
            frame = b"event: response.output_text.delta\ndata: %b\n\n" % event
            self._clients[key].write(b"%x\r\n%b\r\n" % (len(frame), frame))


class _Request(asyncio.Protocol):
    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, body = self._received.partition(b"\r\n\r\n")
        length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), None)
        if blank and length is not None and len(body) >= int(length[15:]):
            assert self._transport is not None
            self._received = b""
            self._sender.ask(body, self._transport)


def main(role: str, redis_port: int, port: int) -> None:
    uvloop.run(Reader(port).run(redis_port) if role == "reader" else Sender().run(redis_port, port))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
