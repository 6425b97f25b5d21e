"""The provider and the client of the benchmarks, against each other over a real socket."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from benchmarks.load.client import Client, Refused, Target
from benchmarks.load.order import Order, order_in
from benchmarks.load.wire import chat_answer, responses_answer
from dev import services

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"


@asynccontextmanager
async def upstream() -> AsyncIterator[int]:
    port = services.free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.load.upstream", str(port))
    try:
        async with asyncio.timeout(50):
            while not await services.port_answers(port):
                await asyncio.sleep(0.02)
        yield port
    finally:
        process.terminate()
        await process.wait()


def body(path: str, order: Order) -> bytes:
    asked = {"messages": [{"role": "user", "content": order.prompt}]} if path == CHAT else {"input": order.prompt}
    return json.dumps({"model": "m", "stream": True, **asked}).encode()


def test_the_last_order_of_a_conversation_counts() -> None:
    first, second = Order(3), Order(40, 0.02, 0.05)
    asked = json.dumps({"input": [{"content": first.prompt}, {"content": second.prompt}]}).encode()
    assert order_in(asked) == second
    assert order_in(b'{"input": "hello"}') is None


async def test_the_client_reads_what_the_provider_sends_over_connections_that_stay_open() -> None:
    async with upstream() as port:
        client = Client()
        for path in (CHAT, RESPONSES):
            for order in (Order(30), Order(5, 0.001, 0.001)):
                target = Target(port, path)
                asked = (client.stream(target, body(path, order)) for _ in range(8))
                slowly = client.stream(target, body(path, order), read_seconds=0.02)
                for stream in await asyncio.gather(*asked, slowly):
                    assert stream.pieces() == [f"w{number} " for number in range(order.words)]
                    assert stream.begun < stream.first <= stream.ended
        with pytest.raises(Refused, match="400"):
            await client.stream(Target(port, CHAT), b'{"messages": []}')
        client.close()


async def test_an_answer_that_is_cut_off_is_an_error_and_none_of_the_streams() -> None:
    async def cut_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(chat_answer(3).opening + chat_answer(3).start)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut_off, "127.0.0.1", 0)
    client = Client()
    with pytest.raises(ConnectionError):
        await client.stream(Target(server.sockets[0].getsockname()[1], CHAT), b"")
    server.close()


async def test_the_providers_answers_have_the_form_of_their_apis() -> None:
    """Read by another client: httpx, and each event as JSON."""
    async with upstream() as port, httpx.AsyncClient(trust_env=False) as client:
        for path in (CHAT, RESPONSES):
            answer = await client.post(f"http://127.0.0.1:{port}{path}", content=body(path, Order(4)))
            events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
            if path == CHAT:
                assert events.pop() == "[DONE]"
                assert json.loads(events[-1])["usage"]["completion_tokens"] == 4
            else:
                parsed = [json.loads(event) for event in events]
                assert [event["sequence_number"] for event in parsed] == list(range(len(parsed)))
                assert parsed[-1]["response"]["output"][0]["content"][0]["text"] == "w0 w1 w2 w3 "
            assert len(events) == 4 + (3 if path == CHAT else 8)


async def test_a_request_that_meets_the_end_of_an_idle_connection_is_sent_again() -> None:
    """Servers close connections that are idle, also while a request is on its way."""
    answer = chat_answer(2)
    heads = 0

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heads
        await reader.readuntil(b"\r\n\r\n")
        heads += 1
        writer.write(answer.opening + answer.start + b"".join(answer.tokens) + answer.closing + b"0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer_once, "127.0.0.1", 0)
    client, target = Client(), Target(server.sockets[0].getsockname()[1], CHAT)
    for asked in (1, 2):
        assert (await client.stream(target, b"")).text == "w0 w1 "
        assert heads == asked
    client.close()
    server.close()


def test_a_refusal_shows_its_status_and_message() -> None:
    answer = b'HTTP/1.1 429 Too Many Requests\r\nx-request-id: 1\r\n\r\n{"error": {"message": "Too many."}}'
    assert str(Refused.of(answer)) == "HTTP/1.1 429 Too Many Requests: Too many."


def test_the_bytes_of_an_answer_are_made_once() -> None:
    assert chat_answer(7) is chat_answer(7)
    assert responses_answer(7) is responses_answer(7)
