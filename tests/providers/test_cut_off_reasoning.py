"""Reasoning that the token limit or a filter cut off is incomplete (ITEM-2), with any provider."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from open_responses.events.assembler import CUT_OFF, Assembler
from tests.support.provider_wire import finish_of
from tests.support.vendor_streams import (
    THOUGHTS,
    VENDORS,
    anthropic_block,
    anthropic_end,
    chat_chunk,
    gemini_chunk,
    ollama_line,
    openai_end,
    openai_text,
    read,
    stream_of,
)

Json = dict[str, Any]
ANSWERS: dict[str, list[Json]] = {
    "openai": [{**openai_text(), "output_index": 1}],
    "openai-chat": [chat_chunk({"content": "Hello"})],
    "anthropic": anthropic_block({"type": "text", "text": "Hello"}, index=1),
    "gemini": [gemini_chunk({"text": "Hello", "thoughtSignature": "c2ln"})],
    "ollama": [ollama_line("Hello")],
}
LIMIT: dict[str, list[Json]] = {
    "openai": [openai_end("response.incomplete", incomplete_details={"reason": "max_output_tokens"})],
    "openai-chat": [chat_chunk(finish="length")],
    "anthropic": [anthropic_end("max_tokens"), {"type": "message_stop"}],
    "gemini": [gemini_chunk(finish="MAX_TOKENS")],
    "ollama": [ollama_line(done=True, done_reason="length")],
}
STOP: dict[str, list[Json]] = {
    "openai": [openai_end()],
    "openai-chat": [chat_chunk(finish="stop")],
    "anthropic": [anthropic_end(), {"type": "message_stop"}],
    "gemini": [gemini_chunk(finish="STOP")],
    "ollama": [ollama_line(done=True)],
}


async def items_of(http: httpx.AsyncClient, vendor: str, *events: Json) -> list[Json]:
    """The output that a client gets, as an attempt writes it."""
    assembler = Assembler()
    deltas = await read(http, vendor, stream_of(vendor, *events))
    written = [event for delta in deltas for event in assembler.feed(delta)]
    written += assembler.close("incomplete" if finish_of(deltas).reason in CUT_OFF else "completed")
    ends = [event["item"] for event in written if event["type"] == "response.output_item.done"]
    assert ends == assembler.fold.output
    return ends


@pytest.mark.parametrize("vendor", VENDORS)
async def test_reasoning_that_is_cut_off_is_incomplete(http: httpx.AsyncClient, vendor: str) -> None:
    (item,) = await items_of(http, vendor, *THOUGHTS[vendor], *LIMIT[vendor])
    assert (item["type"], item["status"]) == ("reasoning", "incomplete")
    assert "encrypted_content" not in item, "a half thought is not sent back"


@pytest.mark.parametrize("vendor", VENDORS)
async def test_reasoning_before_an_answer_that_is_cut_off_is_completed(http: httpx.AsyncClient, vendor: str) -> None:
    items = await items_of(http, vendor, *THOUGHTS[vendor], *ANSWERS[vendor], *LIMIT[vendor])
    assert [(item["type"], item["status"]) for item in items] == [("reasoning", "completed"), ("message", "incomplete")]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_reasoning_that_ends_an_answer_is_completed(http: httpx.AsyncClient, vendor: str) -> None:
    (item,) = await items_of(http, vendor, *THOUGHTS[vendor], *STOP[vendor])
    assert (item["type"], item["status"]) == ("reasoning", "completed")
    assert item["encrypted_content"]
