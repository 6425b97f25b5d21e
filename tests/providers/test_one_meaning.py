"""What several vendors say in their own words has one meaning, and one code."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from open_responses.errors import OpenResponsesError, ProviderRejected
from tests.support.provider_wire import Answer, Wire, call, failure_of, finish_of, refusal
from tests.support.vendor_streams import (
    TEXT,
    VENDORS,
    anthropic_end,
    chat_chunk,
    gemini_chunk,
    ollama_line,
    openai_end,
    provider_of,
    read,
    stream_of,
)

Json = dict[str, Any]


async def failed(http: httpx.AsyncClient, vendor: str, answer: Answer) -> OpenResponsesError:
    async with Wire(answer) as wire:
        return await failure_of(provider_of(vendor, wire, http), call())


# --- an account without credit

BODIES: dict[str, Any] = {
    "an error": {"error": {"message": "Payment is due", "code": 402}},
    "a text": {"error": "Payment is due"},
    "nothing": {},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_402_is_an_account_without_credit(http: httpx.AsyncClient, vendor: str, body: Any) -> None:
    error = await failed(http, vendor, refusal(402, body))
    assert (type(error), error.error_code) == (ProviderRejected, "insufficient_quota")


IN_STREAM: dict[str, Json] = {
    "openai": {"type": "error", "code": "402", "message": "Payment is due"},
    "openai-chat": {"error": {"code": 402, "message": "Payment is due"}},
    "anthropic": {"type": "error", "error": {"type": "402", "message": "Payment is due"}},
    "gemini": {"error": {"code": 402, "message": "Payment is due"}},
    "ollama": {"error": "Payment is due", "status": 402},
}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_402_in_the_stream_is_an_account_without_credit(http: httpx.AsyncClient, vendor: str) -> None:
    error = await failed(http, vendor, stream_of(vendor, *TEXT[vendor], IN_STREAM[vendor]))
    assert (type(error), error.error_code) == (ProviderRejected, "insufficient_quota")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}),
        (429, {"message": "Recharge your account.", "type": "exceeded_current_quota_error"}),
        (403, {"message": "Insufficient credits. Add more."}),
        (429, {"message": "Your credit balance is too low to access the API."}),
    ],
    ids=["deepseek", "moonshot", "openrouter", "anthropic"],
)
@pytest.mark.parametrize("vendor", ["openai", "openai-chat", "anthropic"])
async def test_an_account_without_credit_under_another_status(
    http: httpx.AsyncClient, vendor: str, status: int, said: Json
) -> None:
    error = await failed(http, vendor, refusal(status, {"error": said}))
    assert (type(error), error.error_code) == (ProviderRejected, "insufficient_quota")


# --- why an answer ended

ENDS = {
    "openai-chat": lambda word: [chat_chunk(finish=word)],
    "anthropic": lambda word: [anthropic_end(word), {"type": "message_stop"}],
    "gemini": lambda word: [gemini_chunk(finish=word)],
    "ollama": lambda word: [ollama_line(done=True, done_reason=word)],
    "openai": lambda word: [openai_end("response.incomplete", incomplete_details={"reason": word})],
}
FILTERED = ["content_filter", "safety", "SAFETY", "blocked", "PROHIBITED_CONTENT", "sensitive", "refusal", "RECITATION"]
CUT_OFF = ["length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_context_window_exceeded"]


@pytest.mark.parametrize("word", FILTERED)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_filtered_answer_says_so(http: httpx.AsyncClient, vendor: str, word: str) -> None:
    deltas = await read(http, vendor, stream_of(vendor, *TEXT[vendor], *ENDS[vendor](word)))
    assert finish_of(deltas).reason == "content_filter"


@pytest.mark.parametrize("word", CUT_OFF)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_answer_that_is_cut_off_says_so(http: httpx.AsyncClient, vendor: str, word: str) -> None:
    deltas = await read(http, vendor, stream_of(vendor, *TEXT[vendor], *ENDS[vendor](word)))
    assert finish_of(deltas).reason == "length"


# --- halves of surrogate pairs


@pytest.mark.parametrize(
    "arguments",
    ['{"city": "\\ud83d"}', '{"city": "\\ud83d and \\uDE00"}', '{"\\ude00": ["\\ud83d\\ude00"]}', '{"a": "\\ud83d'],
)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_half_a_surrogate_pair_in_arguments_fails_no_later_turn(
    http: httpx.AsyncClient, vendor: str, arguments: str
) -> None:
    items = [
        {"role": "user", "content": "hello"},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": arguments},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
    ]
    tools = [{"type": "function", "name": "get_weather"}]
    answer = stream_of(vendor, *TEXT[vendor], *ENDS[vendor]("max_tokens"))
    async with Wire(answer) as wire:
        deltas = [delta async for delta in provider_of(vendor, wire, http).sample(call(items, tools=tools))]
        body = wire.requests[0].body
    assert finish_of(deltas)
    json.dumps(json.loads(body), ensure_ascii=False).encode()
    for text in _texts(json.loads(body)):
        if text.startswith("{") and arguments.endswith("}"):
            # Servers that get the arguments as text parse them.
            json.dumps(json.loads(text), ensure_ascii=False).encode()


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]
