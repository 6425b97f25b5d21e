"""The one way to a provider's HTTP: which failures of the connection are failures."""

from __future__ import annotations

import asyncio

import pytest

from activities.providers.openai_chat import OpenAIChat
from activities.providers.shared.http import open_http_client
from open_responses.config import ProviderConfig
from open_responses.errors import ProviderStreamBroken, ProviderUnavailable
from tests.support.provider_wire import Wire, call, sampled, sse, text_of

ANSWER = sse({"choices": [{"delta": {"content": "hello"}, "finish_reason": "stop"}]}, done=True)


async def test_a_kept_connection_that_the_server_has_closed_is_no_failure() -> None:
    """The server says that it keeps the connection, and closes it behind each answer."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
        length = f"Content-Length: {len(ANSWER.body)}\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + length.encode() + ANSWER.body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, open_http_client() as http:
        port = server.sockets[0].getsockname()[1]
        config = ProviderConfig(name="closing", adapter="openai-chat", base_url=f"http://127.0.0.1:{port}")
        for _ in range(6):
            assert text_of(await sampled(OpenAIChat(config, http, None), call("hi"))) == "hello"


async def test_a_server_that_never_answers_is_a_broken_connection() -> None:
    accepted = 0

    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        writer.close()

    async with await asyncio.start_server(slam, "127.0.0.1", 0) as server, open_http_client() as http:
        port = server.sockets[0].getsockname()[1]
        config = ProviderConfig(name="slams", adapter="openai-chat", base_url=f"http://127.0.0.1:{port}")
        with pytest.raises(ProviderStreamBroken):
            await sampled(OpenAIChat(config, http, None), call("hi"))
    assert accepted <= 3


async def test_a_refused_connection_is_told_as_such() -> None:
    async with Wire(ANSWER) as wire, open_http_client() as http:
        config = wire.provider("openai-chat")
    async with open_http_client() as http:
        with pytest.raises(ProviderUnavailable, match="cannot be reached"):
            await sampled(OpenAIChat(config, http, None), call("hi"))
