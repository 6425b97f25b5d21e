"""A provider's answer is bounded, whatever comes: each adapter gives up after what one event may have, and hangs up."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from activities.providers.anthropic import Anthropic
from activities.providers.gemini import Gemini
from activities.providers.ollama import Ollama
from activities.providers.openai import OpenAIResponses
from activities.providers.openai_chat import OpenAIChat
from open_responses.config import ProviderConfig
from open_responses.contracts import Provider
from open_responses.errors import OpenResponsesError, ProviderAnswerRefused, ProviderError
from tests.support.provider_wire import Answer, Wire, call, failure_of

LIMIT = 1024 * 1024
# Sockets and the connection's own buffers hold some of it as well.
AT_MOST = 16 * LIMIT
ADAPTERS: dict[str, Any] = {
    "anthropic": Anthropic,
    "gemini": Gemini,
    "ollama": Ollama,
    "openai": OpenAIResponses,
    "openai-chat": OpenAIChat,
}
SSE = "text/event-stream"
# What each vendor may send for ever without saying anything, with a member that is none of its own: a hundred thousand
# events of a few bytes come to the same limit, and take seconds.
_MORE = b'"x": "' + b"x" * 500 + b'"'
NOTHING = {
    "anthropic": b'data: {"type": "ping", %s}\n\n' % _MORE,
    "gemini": b'data: {"candidates": [], %s}\n\n' % _MORE,
    "ollama": b'{"message": {"role": "assistant", "content": ""}, %s}\n' % _MORE,
    "openai": b'data: {"type": "response.in_progress", "response": {}, %s}\n\n' % _MORE,
    "openai-chat": b'data: {"choices": [{"index": 0, "delta": {}}], %s}\n\n' % _MORE,
}


@functools.cache
def bomb() -> bytes:
    """A megabyte of it is made of a kilobyte."""
    return gzip.compress(b"data: " + b" " * (64 * LIMIT))


@dataclass
class Endless:
    """Sends `head`, and then `piece` for ever. `sent` counts bytes; `gone` is set when the client hangs up."""

    piece: bytes
    head: bytes = b""
    status: int = 200
    content_type: str = SSE
    sent: int = 0
    port: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {self.status} X\r\nContent-Type: {self.content_type}\r\n\r\n".encode() + self.head)
            block = self.piece * max(1, 65536 // len(self.piece))
            while self.sent < 1000 * LIMIT:
                writer.write(block)
                self.sent += len(block)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def endless(piece: bytes, **settings: Any) -> AsyncIterator[Endless]:
    server = Endless(piece, **settings)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


def provider(name: str, port: int, http: httpx.AsyncClient, **settings: Any) -> Provider:
    config = ProviderConfig(
        name=name, adapter=name, base_url=f"http://127.0.0.1:{port}", max_event_bytes=LIMIT, **settings
    )
    adapter: Provider = ADAPTERS[name](config, http, "key")
    return adapter


async def given_up(name: str, server: Endless, http: httpx.AsyncClient, **asked: Any) -> OpenResponsesError:
    """The error, once the adapter has hung up."""
    error = await failure_of(provider(name, server.port, http), call("hi", **asked))
    await asyncio.wait_for(server.gone.wait(), 50)
    assert server.sent < AT_MOST
    return error


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("what", ["a line", "a line of data", "comments", "lines of one event", "events of nothing"])
async def test_an_adapter_gives_up_on_an_answer_without_end_or_content(
    http: httpx.AsyncClient, name: str, what: str
) -> None:
    piece, head = {
        "a line": (b"x", b""),
        "a line of data": (b"x", b'data: {"text": "' if name != "ollama" else b'{"text": "'),
        "comments": (b": still here" + b" " * 50 + b"\n\n" if name != "ollama" else b" " * 50 + b"\n", b""),
        "lines of one event": (b"data: " + b"x" * 50 + b"\n" if name != "ollama" else b"  ", b""),
        "events of nothing": (NOTHING[name], b""),
    }[what]
    async with endless(piece, head=head) as server:
        assert isinstance(await given_up(name, server, http), ProviderAnswerRefused)


@pytest.mark.parametrize("name", ADAPTERS)
async def test_an_adapter_gives_up_on_a_whole_answer_without_end(http: httpx.AsyncClient, name: str) -> None:
    """Servers that do not stream send one body."""
    async with endless(b"x", head=b'{"content": "', content_type="application/json") as server:
        assert isinstance(await given_up(name, server, http), ProviderAnswerRefused)


@pytest.mark.parametrize("name", ADAPTERS)
async def test_of_an_errors_body_the_beginning_is_read(http: httpx.AsyncClient, name: str) -> None:
    async with endless(b"x", status=500, content_type="application/json") as server:
        error = await given_up(name, server, http)
        assert error.error_code == "provider_unavailable"
        assert len(error.message) < 1000


@pytest.mark.parametrize("name", ADAPTERS)
async def test_a_list_of_models_without_end_is_given_up(http: httpx.AsyncClient, name: str) -> None:
    async with endless(b"x", content_type="application/json") as server:
        with pytest.raises(ProviderError):
            await provider(name, server.port, http).list_models()  # type: ignore[attr-defined]
        await asyncio.wait_for(server.gone.wait(), 50)
        assert server.sent < AT_MOST


async def test_a_background_answer_that_is_read_again_has_the_same_bound(http: httpx.AsyncClient) -> None:
    async with endless(b"x", head=b"data: ") as server:
        adapter = provider("openai", server.port, http, resume="background")
        assert isinstance(await failure_of(adapter, call("hi", resume_token="resp_1")), ProviderAnswerRefused)
        await asyncio.wait_for(server.gone.wait(), 50)
    async with endless(b"x", content_type="application/json") as server:
        adapter = provider("openai", server.port, http, resume="background")
        with pytest.raises(ProviderAnswerRefused):
            await adapter.cancel(call("hi", resume_token="resp_1"))  # type: ignore[attr-defined]
        await asyncio.wait_for(server.gone.wait(), 50)
        assert server.sent < AT_MOST


@pytest.mark.parametrize("name", ADAPTERS)
async def test_a_compressed_answer_is_refused_and_not_read(http: httpx.AsyncClient, name: str) -> None:
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        async with Wire(Answer(bomb(), content_type=SSE, headers={"Content-Encoding": encoding})) as wire:
            error = await failure_of(provider(name, wire.port, http), call("hi"))
            assert isinstance(error, ProviderAnswerRefused), encoding
            assert "compressed" in error.message
            assert wire.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("name", ADAPTERS)
async def test_a_compressed_refusal_counts_by_its_status_alone(http: httpx.AsyncClient, name: str) -> None:
    refusal = gzip.compress(json.dumps({"error": {"message": "no" * LIMIT}}).encode())
    async with Wire(Answer(refusal, status=503, headers={"Content-Encoding": "gzip"})) as wire:
        error = await failure_of(provider(name, wire.port, http), call("hi"))
        assert error.error_code == "provider_unavailable"


async def test_a_list_of_models_is_not_decompressed(http: httpx.AsyncClient) -> None:
    models = gzip.compress(b'{"data": [{"id": "' + b"m" * LIMIT + b'"}]}')
    for name in ADAPTERS:
        async with Wire(Answer(models, headers={"Content-Encoding": "gzip"})) as wire:
            with pytest.raises(ProviderAnswerRefused):
                await provider(name, wire.port, http).list_models()  # type: ignore[attr-defined]
