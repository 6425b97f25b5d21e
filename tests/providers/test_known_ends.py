"""An answer whose end was read is complete, however its stream goes on: none is paid for twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from open_responses.deltas import ToolCallDelta
from open_responses.errors import ProviderStreamBroken
from tests.support.provider_wire import Answer, Wire, call, failure_of, finish_of, text_of
from tests.support.vendor_streams import (
    TEXT,
    VENDORS,
    anthropic_block,
    anthropic_end,
    anthropic_start,
    chat_chunk,
    gemini_chunk,
    ollama_line,
    openai_end,
    provider_of,
    read,
    stream_of,
)

Json = dict[str, Any]
# What says why the answer ended, without the event that ends the stream.
REASONS: dict[str, Json] = {
    "openai": openai_end(),
    "openai-chat": chat_chunk(finish="stop"),
    "anthropic": anthropic_end("end_turn", output_tokens=3),
    "gemini": gemini_chunk(finish="STOP"),
    "ollama": ollama_line(done=True, done_reason="stop"),
}


def ended(vendor: str) -> Answer:
    return stream_of(vendor, *TEXT[vendor], REASONS[vendor])


@pytest.mark.parametrize("how", ["closes", "breaks", "goes on with no JSON", "without the last empty line"])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_answer_that_said_why_it_ends_is_complete(http: httpx.AsyncClient, vendor: str, how: str) -> None:
    answer = ended(vendor)
    if how == "breaks":
        answer = replace(answer, breaks=True)
    elif how == "goes on with no JSON":
        answer = replace(answer, body=answer.body + (b"oops\n" if vendor == "ollama" else b"data: oops\n\n"))
    elif how == "without the last empty line":
        answer = replace(answer, body=answer.body.rstrip())
    deltas = await read(http, vendor, answer)
    assert (text_of(deltas), finish_of(deltas).reason) == ("Hello", "stop")


@pytest.mark.parametrize("vendor", sorted({*VENDORS} - {"gemini"}))
async def test_a_server_that_leaves_the_connection_open_is_not_waited_for(
    http: httpx.AsyncClient, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemini may send more behind a reason; the others have ended."""
    monkeypatch.setattr("activities.providers.shared.reading._SECONDS_AFTER_END", 0.05)
    async with Wire(replace(ended(vendor), stalls=True)) as wire:
        provider = provider_of(vendor, wire, http)
        deltas = [delta async for delta in provider.sample(call())]
    assert (text_of(deltas), finish_of(deltas).reason) == ("Hello", "stop")


@pytest.mark.parametrize("vendor", ["openai", "openai-chat", "anthropic"])
async def test_an_answer_that_ends_with_done_alone_is_complete(http: httpx.AsyncClient, vendor: str) -> None:
    deltas = await read(http, vendor, stream_of(vendor, *TEXT[vendor], done=True))
    assert (text_of(deltas), finish_of(deltas).reason) == ("Hello", "stop")


CALLED: dict[str, list[Json]] = {
    "openai": [
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
        }
    ],
    "openai-chat": [
        chat_chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "get_weather", "arguments": "{}"}}]})
    ],
    "anthropic": anthropic_block({"type": "tool_use", "id": "c1", "name": "get_weather", "input": {}}, stop=False),
}


@pytest.mark.parametrize("vendor", CALLED)
async def test_a_call_before_done_alone_is_a_call(http: httpx.AsyncClient, vendor: str) -> None:
    deltas = await read(http, vendor, stream_of(vendor, *CALLED[vendor], done=True))
    calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert (calls[0].name, "".join(delta.arguments for delta in calls)) == ("get_weather", "{}")
    assert finish_of(deltas).reason == "tool_calls"


@pytest.mark.parametrize(
    ("status", "more", "expected"),
    [
        (None, {}, "stop"),
        ("completed", {}, "stop"),
        ("incomplete", {"incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ("incomplete", {"incomplete_details": {"reason": "content_filter"}}, "content_filter"),
    ],
)
async def test_response_done_ends_a_response(
    http: httpx.AsyncClient, status: str | None, more: Json, expected: str
) -> None:
    end = openai_end("response.done", **({"status": status} if status else {}), **more)
    deltas = await read(http, "openai", stream_of("openai", *TEXT["openai"], end))
    assert (text_of(deltas), finish_of(deltas).reason) == ("Hello", expected)


async def test_a_whole_chat_answer_without_a_reason_is_complete(http: httpx.AsyncClient) -> None:
    whole = Answer(b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}}]}')
    deltas = await read(http, "openai-chat", whole)
    assert (text_of(deltas), finish_of(deltas).reason) == ("Hello", "stop")


async def test_an_anthropic_answer_that_stops_without_a_reason_is_complete(http: httpx.AsyncClient) -> None:
    deltas = await read(http, "anthropic", stream_of("anthropic", *TEXT["anthropic"], {"type": "message_stop"}))
    assert (text_of(deltas), finish_of(deltas).reason) == ("Hello", "stop")


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_answer_that_does_not_say_that_it_ends_is_broken(http: httpx.AsyncClient, vendor: str) -> None:
    async with Wire(stream_of(vendor, *TEXT[vendor])) as wire:
        assert isinstance(await failure_of(provider_of(vendor, wire, http), call()), ProviderStreamBroken)


@pytest.mark.parametrize("vendor", ["openai", "openai-chat", "anthropic"])
async def test_done_behind_nothing_is_no_answer(http: httpx.AsyncClient, vendor: str) -> None:
    first = [anthropic_start()] if vendor == "anthropic" else []
    async with Wire(stream_of(vendor, *first, done=True)) as wire:
        assert isinstance(await failure_of(provider_of(vendor, wire, http), call()), ProviderStreamBroken)


EARLY: dict[str, list[Json]] = {
    "openai-chat": [chat_chunk(finish="stop"), chat_chunk({"reasoning_content": "Hm."}, "stop")],
    "gemini": [gemini_chunk(finish="STOP"), gemini_chunk({"text": "Hm.", "thought": True}, finish="STOP")],
}


@pytest.mark.parametrize("vendor", EARLY)
async def test_a_reason_that_content_follows_is_not_the_end(
    http: httpx.AsyncClient, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gateways stamp it on any chunk: the answer is read on, and one that breaks off is not shown as whole."""
    monkeypatch.setattr("activities.providers.shared.reading._SECONDS_AFTER_END", 0.05)
    half = stream_of(vendor, *EARLY[vendor], *TEXT[vendor])
    deltas = await read(http, vendor, replace(half, body=half.body + ended(vendor).body))
    assert text_of(deltas) == "HelloHello"
    for broken in (replace(half, breaks=True), stream_of(vendor, *EARLY[vendor][:1], breaks=True)):
        async with Wire(broken) as wire:
            assert isinstance(await failure_of(provider_of(vendor, wire, http), call()), ProviderStreamBroken)


@pytest.mark.parametrize("vendor", ["openai", "anthropic", "ollama"])
async def test_an_empty_answer_that_is_over_is_not_waited_for(
    http: httpx.AsyncClient, vendor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.providers.shared.reading._SECONDS_AFTER_END", 0.05)
    first = [anthropic_start()] if vendor == "anthropic" else []
    last = [{"type": "message_stop"}] if vendor == "anthropic" else []
    async with Wire(stream_of(vendor, *first, REASONS[vendor], *last, stalls=True)) as wire:
        deltas = [delta async for delta in provider_of(vendor, wire, http).sample(call())]
    assert finish_of(deltas).reason == "stop"
