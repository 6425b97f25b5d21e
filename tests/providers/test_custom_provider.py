"""The example of an adapter that somebody else wrote: held to the contract, and in a running server."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from dev.services import Service
from examples.custom_provider import Adapter
from open_responses.config import ProviderConfig
from open_responses.contracts import Provider
from open_responses.io.ports import is_taken
from open_responses.testing.provider_contract import Canned, ProviderContract
from tests.support.stack import Stack, check_whole, collect, events_of


def lines(*objects: dict[str, Any]) -> Canned:
    return Canned("".join(json.dumps(one) + "\n" for one in objects).encode(), "application/x-ndjson")


# Loaded once: the kit opens a client for each case.
_TLS = httpx.create_ssl_context()
END = {"end": "done", "read": 12, "cached": 4, "said": 3}


class TestParley(ProviderContract):
    text = lines({"say": "Hello "}, {"say": "you"}, END)
    tool_calls = lines(
        {"call": {"index": 0, "id": "a", "name": "get_weather", "arguments": {"city": "Oslo"}}},
        {"call": {"index": 1, "id": "b", "name": "get_time", "arguments": {}}},
        {**END, "end": "calls"},
    )
    error_in_stream = lines({"say": "Hello "}, {"error": {"status": 503, "message": "We are full."}})

    @asynccontextmanager
    async def adapter(self, config: ProviderConfig, api_key: str | None) -> AsyncIterator[Provider]:
        async with httpx.AsyncClient(verify=_TLS) as http:
            yield Adapter(config, http, api_key)


async def test_the_kit_finds_nothing_without_pytest_either() -> None:
    assert await TestParley().run() == []


@pytest_asyncio.fixture
async def parley(stack: Stack) -> None:
    """The example's own server, where the configuration of the tests expects it."""
    if "parley" in stack.services:
        return
    config = tomllib.loads(Path(stack.env["OPEN_RESPONSES_CONFIG"]).read_text())
    (url,) = (provider["base_url"] for provider in config["providers"] if provider["name"] == "parley")
    port = urlsplit(url).port or 0

    async def ready() -> bool:
        return is_taken(port)

    stack.services["parley"] = Service("parley", (sys.executable, "-m", "examples.custom_server", str(port)), ready)
    await stack.start("parley")


async def test_a_response_streams_through_the_example(client: httpx.AsyncClient, parley: None) -> None:
    events = await collect(client, {"model": "parley-1", "input": "good morning"})
    response = check_whole(events, "You said: good morning")
    assert response["usage"]["output_tokens"] == 4


@pytest.mark.campaign
async def test_the_example_runs_tools_in_the_loop(client: httpx.AsyncClient, parley: None) -> None:
    tools = [{"type": "function", "name": "talks"}]
    events = await collect(client, {"model": "parley-1", "input": "call it", "tools": tools})
    kinds = [item["type"] for item in events[-1]["response"]["output"]]
    assert kinds == ["function_call", "function_call_output", "message"]


async def test_the_example_goes_on_where_a_killed_worker_stopped(
    client: httpx.AsyncClient, stack: Stack, parley: None
) -> None:
    said = " ".join(f"word{i}" for i in range(40))
    events = []
    async for event in events_of(client, {"model": "parley-1", "input": said}):
        events.append(event)
        if event["type"] == "response.output_text.delta" and event["delta"] == "word9 ":
            await stack.kill_seen(await stack.busy_worker())
    check_whole(events, f"You said: {said}")
    (attempt,) = (event for event in events if event["type"] == "open_responses:attempt")
    assert (attempt["provider"], attempt["action"]) == ("parley", "continued")


async def test_what_the_example_cannot_take_fails_with_its_reason(client: httpx.AsyncClient, parley: None) -> None:
    events = await collect(client, {"model": "parley-1", "input": "hi", "seed": 1})
    error = events[-1]["response"]["error"]
    assert error["code"] == "unsupported_parameter"
    assert "seed" in error["message"]
