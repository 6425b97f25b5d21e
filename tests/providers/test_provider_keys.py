"""No key is shown: not by an adapter, not by what it makes for a call, not in an error that repeats it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from activities.providers.anthropic import Anthropic
from activities.providers.gemini import Gemini
from activities.providers.ollama import Ollama
from activities.providers.openai import OpenAIResponses
from activities.providers.openai_chat import OpenAIChat
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.http import open_http_client
from activities.providers.shared.keys import Key
from open_responses.config import ProviderConfig
from open_responses.contracts import Provider
from tests.support.provider_wire import Answer, Wire, call, failure_of, refusal, sse

ADAPTERS: list[Callable[[ProviderConfig, httpx.AsyncClient, str | None], Provider]] = [
    Anthropic,
    Gemini,
    Ollama,
    OpenAIChat,
    OpenAIResponses,
]
CONFIGURED, OWN = "sk-the-configured-one", "sk-the-requests-own"


def repeating(key: str) -> dict[str, Any]:
    error = {"code": 400, "type": "invalid_request_error", "message": f"bad header: {key}", "param": None}
    return {"type": "error", "error": error}


@pytest.mark.parametrize("own", [None, OWN])
@pytest.mark.parametrize("in_stream", [False, True])
@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_an_error_that_repeats_the_key_is_told_without_it(
    adapter: Callable[..., Provider], in_stream: bool, own: str | None
) -> None:
    body = repeating(own or CONFIGURED)
    answer = refusal(400, body)
    if in_stream:
        line = Answer(json.dumps(body).encode(), content_type="application/x-ndjson")
        answer = line if adapter is Ollama else sse(body)
    async with open_http_client() as http, Wire(answer) as wire:
        provider = adapter(wire.provider("vendor:Adapter", name="vendor"), http, CONFIGURED)
        error = await failure_of(provider, call("hello", api_key=own))
    assert "bad header: …" in error.message
    assert (own or CONFIGURED) not in repr(error) + str(vars(error))


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_no_repr_shows_a_key(adapter: Callable[..., Provider]) -> None:
    config = ProviderConfig(name="vendor", adapter="vendor:Adapter", base_url="http://localhost")
    asked = call("hello", api_key=OWN)
    async with open_http_client() as http:
        shown = repr(adapter(config, http, CONFIGURED))
    shown += repr(asked) + repr(Failures(config, Key.of(asked, CONFIGURED)))
    assert CONFIGURED not in shown
    assert OWN not in shown
