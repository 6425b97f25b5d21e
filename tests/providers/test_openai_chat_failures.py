"""The errors of Chat Completions servers.

The bodies are quoted in issues of vllm-project/vllm, ggml-org/llama.cpp and openai/openai-agents-python.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from activities.providers.openai_chat import OpenAIChat
from open_responses.errors import (
    ContextLengthExceeded,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)
from open_responses.json_types import JsonObject
from tests.support.chat_chunks import NAME, OK, chunk, failed, text
from tests.support.provider_wire import Answer, Wire, call, refusal, sampled, sse

VLLM_OLD = {
    "object": "error",
    "message": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.",
    "type": "BadRequestError",
    "param": None,
    "code": 400,
}
VLLM_NEW = {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "param": None, "code": 404}}
LLAMA = {
    "error": {
        "code": 400,
        "message": "the request exceeds the available context size, try increasing it",
        "type": "exceed_context_size_error",
        "n_prompt_tokens": 9000,
        "n_ctx": 8192,
    }
}
MISTRAL = {
    "object": "error",
    "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "x"], "msg": "Extra inputs are not permitted"}]},
    "type": "invalid_request_error",
    "param": None,
    "code": None,
}
FASTAPI = {"detail": [{"loc": ["body", "temperature"], "msg": "must be at most 1"}]}
GROQ = {
    "error": {
        "message": "Rate limit reached for model `m` on tokens per minute (TPM). Please try again in 7.66s.",
        "type": "tokens",
        "code": "rate_limit_exceeded",
    }
}
OPENROUTER = {
    "error": {
        "code": 400,
        "message": "Provider returned error",
        "metadata": {"raw": '{"error": "prompt is too long: 210000 tokens"}', "provider_name": "Anthropic"},
    }
}
FLAGGED = {"error": {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"]}}}
QUOTA = {
    "error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}
}
OPENAI_LONG = {"error": {"message": "Too much.", "type": "invalid_request_error", "code": "context_length_exceeded"}}
XAI = {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: hu***sh."}


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (400, VLLM_OLD, ContextLengthExceeded, "4096 tokens"),
        (404, VLLM_NEW, ProviderRejected, "The model `x` does not exist."),
        (400, LLAMA, ContextLengthExceeded, "available context size"),
        (422, MISTRAL, ProviderRejected, "Extra inputs are not permitted"),
        (422, FASTAPI, ProviderRejected, "must be at most 1"),
        (400, {"detail": "Bad sampling"}, ProviderRejected, "Bad sampling"),
        (429, GROQ, ProviderRateLimited, "7.66s"),
        (400, OPENROUTER, ContextLengthExceeded, "210000 tokens"),
        (403, FLAGGED, ProviderRejected, "flagged"),
        (429, QUOTA, ProviderRejected, "quota"),
        (400, OPENAI_LONG, ContextLengthExceeded, "Too much."),
        (400, XAI, ProviderAuthentication, "THE_KEY"),
        (401, {"error": {"message": "Incorrect API key provided: hush-hush"}}, ProviderAuthentication, "THE_KEY"),
        (
            402,
            {"error": {"message": "Insufficient Balance", "code": "invalid_request_error"}},
            ProviderRejected,
            "Balance",
        ),
        (400, {"error": {"message": "bad header: hush-hush"}}, ProviderRejected, "bad header: …"),
        (500, {"error": "boom"}, ProviderUnavailable, "boom"),
        (
            503,
            {"error": {"message": "Model is overloaded", "type": "service_unavailable"}},
            ProviderUnavailable,
            "overloaded",
        ),
        (529, [], ProviderUnavailable, "529"),
    ],
)
async def test_every_servers_error_is_understood(
    http: httpx.AsyncClient, status: int, body: Any, kind: type[Exception], said: str
) -> None:
    error = await failed(http, refusal(status, body))
    assert type(error) is kind
    assert said in error.message
    assert "hush-hush" not in error.message


async def test_an_error_that_is_no_json_keeps_its_text(http: httpx.AsyncClient) -> None:
    error = await failed(http, Answer(b"<html>Bad gateway</html>", 502, content_type="text/html"))
    assert isinstance(error, ProviderUnavailable)
    assert "Bad gateway" in error.message


async def test_a_wrong_key_of_the_request_is_told_as_its_own(http: httpx.AsyncClient) -> None:
    error = await failed(http, refusal(401, {}), api_key="mine")
    assert isinstance(error, ProviderAuthentication)
    assert "the provider key that you sent" in error.message


@pytest.mark.parametrize("headers", [{"retry_after": "7"}, {"retry_after_ms": "7000"}])
async def test_how_long_to_wait_is_kept(http: httpx.AsyncClient, headers: dict[str, str]) -> None:
    assert (await failed(http, refusal(429, GROQ, **headers))).retry_after == 7


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ({"error": {"message": "Rate limit", "type": "rate_limit_error", "code": None}}, ProviderRateLimited),
        ({"error": {"code": 502, "message": "Provider disconnected"}, "choices": []}, ProviderUnavailable),
        ({"error": {"code": "400", "message": "no"}}, ProviderRejected),
        ({"error": {"message": "no", "type": "BadRequestError"}}, ProviderRejected),
        ({"error": {"message": "who?", "type": "authentication_error"}}, ProviderAuthentication),
        ({"error": {"message": "long", "code": "context_length_exceeded"}}, ContextLengthExceeded),
        ({"error": {"message": "busy", "type": "overloaded_error"}}, ProviderUnavailable),
        ({"error": "something broke"}, ProviderUnavailable),
        (VLLM_OLD, ContextLengthExceeded),
        (chunk(x_groq={"id": "req_1", "error": "over capacity"}), ProviderUnavailable),
        (
            chunk(choices=[{"index": 0, "delta": {}, "error": {"code": 429, "message": "slow down"}}]),
            ProviderRateLimited,
        ),
    ],
)
async def test_an_error_in_the_middle_is_like_its_status(
    http: httpx.AsyncClient, broken: JsonObject, kind: type[Exception]
) -> None:
    assert type(await failed(http, sse(text("half"), broken, done=True))) is kind


async def test_an_error_event_is_an_error(http: httpx.AsyncClient) -> None:
    body = 'event: error\ndata: {"message": "Stream failed", "type": "server_error"}\n\n'
    error = await failed(http, Answer(body.encode(), content_type="text/event-stream"))
    assert isinstance(error, ProviderUnavailable)
    assert "Stream failed" in error.message


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (sse(text("half")), ProviderStreamBroken),
        (sse(), ProviderStreamBroken),
        (sse(done=True), ProviderStreamBroken),
        (Answer(sse(text("half")).body, content_type="text/event-stream", breaks=True), ProviderStreamBroken),
        (Answer(sse(text("half")).body, content_type="text/event-stream", stalls=True), ProviderTimeout),
        (Answer(b"data: {not json\n\n", content_type="text/event-stream"), ProviderStreamBroken),
        (Answer(b"data: []\n\n", content_type="text/event-stream"), ProviderStreamBroken),
        (Answer(b"<html>", content_type="text/html"), ProviderStreamBroken),
        (Answer(b"[]"), ProviderStreamBroken),
    ],
)
async def test_a_stream_that_is_not_whole_is_broken(
    http: httpx.AsyncClient, answer: Answer, kind: type[Exception]
) -> None:
    assert type(await failed(http, answer)) is kind


async def test_the_requests_own_key_goes_before_the_configured_one(http: httpx.AsyncClient) -> None:
    async with Wire(OK) as wire:
        adapter = OpenAIChat(wire.provider(NAME), http, "configured")
        await sampled(adapter, call())
        await sampled(adapter, call(api_key="own"))
        await sampled(OpenAIChat(wire.provider(NAME), http, None), call())
    given = [request.headers.get("authorization") for request in wire.requests]
    assert given == ["Bearer configured", "Bearer own", None]
