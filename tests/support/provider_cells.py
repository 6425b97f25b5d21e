"""Each vendor's fake, and a call to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from activities.providers.registry import build_providers
from activities.providers.shared.http import open_http_client
from open_responses.config import Config
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta
from tests.support.provider_wire import Answer, Received, Wire, sampled, sse

VENDORS = ("openai", "openai-chat", "anthropic", "gemini", "ollama")
# For each vendor, the model that accepts the most kinds of input. An unknown server has a model `m`.
MODELS = {
    "openai": "gpt-5",
    "openai-chat": "m",
    "anthropic": "claude-sonnet-4-5",
    "gemini": "gemini-3-flash",
    "ollama": "m",
}
EMPTY: dict[str, Answer] = {
    "openai": sse(
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.completed", "response": {"id": "resp_1", "output": []}},
    ),
    "openai-chat": sse({"choices": [{"delta": {}, "finish_reason": "stop"}]}, done=True),
    "anthropic": sse(
        {"type": "message_start", "message": {"model": "m"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ),
    "gemini": sse({"candidates": [{"finishReason": "STOP"}]}),
    "ollama": Answer(
        b'{"model": "m", "message": {}, "done": true, "done_reason": "stop"}\n', content_type="text/plain"
    ),
}


@pytest_asyncio.fixture(scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_client() as client:
        yield client


async def run(http: httpx.AsyncClient, vendor: str, asked: SampleCall) -> tuple[list[Received], list[Delta]]:
    """(the requests, the deltas)."""
    async with Wire(EMPTY[vendor]) as wire:
        config = wire.provider(vendor, name="p")
        provider = build_providers(Config(providers=(config,)), http, {})["p"]
        return wire.requests, await sampled(provider, asked)
