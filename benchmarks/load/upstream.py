"""`python -m benchmarks.load.upstream PORT`: a provider that streams numbered tokens at the pace that a prompt orders.

`/v1/chat/completions` and `/v1/responses`, in the vendor's wire format, over connections that stay open. The bytes of
an answer are made once; a token then costs one timer and one write. Tokens are due at times that are fixed by the
answer's start, so a reader that is slow does not slow the provider down.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from benchmarks.load.order import Order, order_in
from benchmarks.load.wire import END, Answer, chat_answer, responses_answer

_REFUSED = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Answers the requests of one connection, one after the other."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, blank, rest = self._received.partition(b"\r\n\r\n")
        if not blank:
            return
        lines = head.split(b"\r\n")
        sizes = [int(line[15:]) for line in lines if line[:15].lower() == b"content-length:"]
        if len(rest) < sum(sizes):
            return
        self._received = b""
        order, path = order_in(rest), lines[0].split(b" ")[1]
        if order is None:
            self._write(_REFUSED)
            return
        answer = responses_answer(order.words) if path.endswith(b"/responses") else chat_answer(order.words)
        self._write(answer.opening)
        self._loop.call_later(order.delay, self._token, answer, order, 0, self._loop.time() + order.delay)

    def _token(self, answer: Answer, order: Order, number: int, begun: float) -> None:
        if self._transport is None:
            return
        token = answer.tokens[number]
        self._transport.write(answer.start + token if number == 0 else token)
        number += 1
        if number == order.words:
            self._write(answer.closing + END)
        elif order.gap:
            self._loop.call_at(begun + number * order.gap, self._token, answer, order, number, begun)
        else:
            self._loop.call_soon(self._token, answer, order, number, begun)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
