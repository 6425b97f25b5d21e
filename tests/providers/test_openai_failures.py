"""The errors of OpenAI's Responses API, before and in the middle of a stream. Their bodies are OpenAI's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from activities.providers.openai import OpenAIResponses
from open_responses.deltas import ToolCallDelta
from open_responses.errors import (
    ContextLengthExceeded,
    OpenResponsesError,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)
from tests.support.openai_events import HALF, at, broken_off, called, completed, created, error, heard, response, stream
from tests.support.provider_wire import Answer, Wire, call, refusal, sampled, sse, text_of

ANSWERS = [
    (401, error("Incorrect API key provided: sk-con***.", code="invalid_api_key"), ProviderAuthentication),
    (403, error("Country, region, or territory not supported", "request_forbidden"), ProviderAuthentication),
    (403, error("Project `p` does not have access to model `gpt-5`", code="model_not_found"), ProviderRejected),
    (404, error("The model `gpt-9` does not exist", code="model_not_found"), ProviderRejected),
    (400, error("The requested model 'gpt-9' does not exist.", code="model_not_found"), ProviderRejected),
    (
        400,
        error("Your input exceeds the context window of this model.", code="context_length_exceeded", param="input"),
        ContextLengthExceeded,
    ),
    (400, error("Unsupported parameter: 'temperature'.", param="temperature"), ProviderRejected),
    (429, error("Rate limit reached for gpt-5", "tokens", "rate_limit_exceeded"), ProviderRateLimited),
    (429, error("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), ProviderRejected),
    (
        429,
        error("Request too large for gpt-5 on tokens per min (TPM): Limit 30000, Requested 35364.", "tokens"),
        ProviderRejected,
    ),
    (500, error("The server had an error", "server_error"), ProviderUnavailable),
    (503, error("The engine is currently overloaded", "service_unavailable_error"), ProviderUnavailable),
    (502, "<html>Bad Gateway</html>", ProviderUnavailable),
]


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS)
async def test_a_refused_request_is_the_right_error(
    http: httpx.AsyncClient, status: int, body: Any, expected: type[OpenResponsesError]
) -> None:
    with pytest.raises(expected) as caught:
        await heard(http, refusal(status, body))
    assert type(caught.value) is expected
    assert "sk-configured" not in str(caught.value)


async def test_openais_own_message_reaches_the_client(http: httpx.AsyncClient) -> None:
    with pytest.raises(ProviderRejected, match="Unsupported parameter: 'temperature'"):
        await heard(http, refusal(400, error("Unsupported parameter: 'temperature'.")))


async def test_a_model_that_is_not_there_has_its_code(http: httpx.AsyncClient) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await heard(http, refusal(400, error("no such model", code="model_not_found")))
    assert caught.value.error_code == "model_not_found"


async def test_a_refused_key_of_the_requests_own_is_said_to_be_its_own(http: httpx.AsyncClient) -> None:
    body = error("Incorrect API key provided", code="invalid_api_key")
    with pytest.raises(ProviderAuthentication, match="the provider key that you sent"):
        await heard(http, refusal(401, body), call(api_key="sk-own"))


@pytest.mark.parametrize(
    ("headers", "message", "wait"),
    [
        ({"retry_after": "7"}, "Slow down", 7),
        ({"x_ratelimit_remaining_tokens": "0", "x_ratelimit_reset_tokens": "6m0s"}, "Slow down", 360),
        ({}, "Rate limit reached. Please try again in 11.054s. Visit the site.", 11.054),
        ({}, "Rate limit reached. Please try again in 20 seconds.", 20),
        ({}, "Rate limit reached. Please try again in 1m12.5s.", 72.5),
        ({}, "Slow down", None),
    ],
)
async def test_a_rate_limit_says_how_long_to_wait(
    http: httpx.AsyncClient, headers: dict[str, str], message: str, wait: float | None
) -> None:
    body = error(message, "tokens", "rate_limit_exceeded")
    with pytest.raises(ProviderRateLimited) as caught:
        await heard(http, refusal(429, body, **headers))
    assert caught.value.retry_after == wait


def failed(code: str | None, message: str = "went wrong") -> dict[str, Any]:
    return {"type": "response.failed", "response": response("failed", error={"code": code, "message": message})}


MIDSTREAM = [
    (failed("server_error"), ProviderUnavailable),
    (failed("vector_store_timeout"), ProviderUnavailable),
    (failed("server_is_overloaded"), ProviderUnavailable),
    (failed(None), ProviderUnavailable),
    ({"type": "response.failed", "response": response("failed")}, ProviderUnavailable),
    (failed("rate_limit_exceeded"), ProviderRateLimited),
    (failed("rate_limit_exceeded", "Request too large for gpt-5: Limit 30000, Requested 35364."), ProviderRejected),
    (failed("insufficient_quota"), ProviderRejected),
    (failed("invalid_prompt"), ProviderRejected),
    (failed("image_content_policy_violation"), ProviderRejected),
    (failed("bio_policy"), ProviderRejected),
    (failed("context_length_exceeded"), ContextLengthExceeded),
    (
        {"type": "error", "sequence_number": 2, **error("too many", "tokens", "rate_limit_exceeded")},
        ProviderRateLimited,
    ),
    ({"type": "error", "sequence_number": 2, **error("Sorry", "server_error")}, ProviderUnavailable),
    ({"type": "error", "sequence_number": 2, **error("no", "invalid_request_error")}, ProviderRejected),
    ({"type": "error", "code": "rate_limit_exceeded", "message": "no", "param": None}, ProviderRateLimited),
    ({"type": "error", "code": None, "message": "no", "param": None}, ProviderUnavailable),
    (error("bare", "server_error"), ProviderUnavailable),
    ({"type": "response.cancelled", "response": response("cancelled")}, ProviderStreamBroken),
]


@pytest.mark.parametrize(("event", "expected"), MIDSTREAM)
async def test_a_failure_in_the_middle_is_its_http_twin(
    http: httpx.AsyncClient, event: dict[str, Any], expected: type[OpenResponsesError]
) -> None:
    answer = sse(*created(), at("output_text.delta", 0, content_index=0, delta="Half"), event)
    async with Wire(answer) as wire:
        deltas, error = await broken_off(OpenAIResponses(wire.provider("openai"), http, "sk"))
    assert type(error) is expected
    assert text_of(deltas) == "Half"


async def test_a_rate_limit_in_the_middle_says_how_long_to_wait(http: httpx.AsyncClient) -> None:
    event = failed("rate_limit_exceeded", "Rate limit reached. Please try again in 1.5s.")
    with pytest.raises(ProviderRateLimited) as caught:
        await heard(http, sse(*created(), event))
    assert caught.value.retry_after == 1.5


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (HALF, ProviderStreamBroken),
        (replace(HALF, breaks=True), ProviderStreamBroken),
        (replace(HALF, stalls=True), ProviderTimeout),
        (Answer(stalls=True, content_type="text/event-stream"), ProviderTimeout),
        (replace(HALF, body=HALF.body + b"data: {broken\n\n"), ProviderStreamBroken),
        (replace(HALF, body=HALF.body + b"data: [1]\n\n"), ProviderStreamBroken),
        (sse(*created(), done=True), ProviderStreamBroken),
        (Answer(b"<html>"), ProviderStreamBroken),
        (Answer(json.dumps(response("in_progress")).encode()), ProviderStreamBroken),
        (Answer(json.dumps(error("no", "server_error")).encode()), ProviderUnavailable),
    ],
)
async def test_an_answer_that_does_not_end_well_can_be_tried_again(
    http: httpx.AsyncClient, answer: Answer, expected: type[OpenResponsesError]
) -> None:
    with pytest.raises(expected) as caught:
        await heard(http, answer, timeout_seconds=0.2)
    assert caught.value.retryable


async def test_a_server_that_is_not_there_is_unavailable(http: httpx.AsyncClient) -> None:
    async with Wire(stream()) as wire:
        config = wire.provider("openai")
    with pytest.raises(ProviderUnavailable):
        await sampled(OpenAIResponses(config, http, "sk"), call())


async def test_items_without_an_index_are_told_apart_by_their_ids(http: httpx.AsyncClient) -> None:
    """As llama.cpp's server of the Responses API sends them."""
    events = [*created(), *called(0, "{}", call_id="c1"), *called(1, '{"x":', "1}", call_id="c2"), completed()]
    for event in events:
        index = event.pop("output_index", None)
        if index is not None:
            event.setdefault("item_id", f"fc_{index}")
            if "item" in event:
                event["item"] = {**event["item"], "id": f"fc_{index}"}
                del event["item_id"]
            else:
                event["item_id"] = f"fc_{index}"
    deltas = await heard(http, sse(*events, named=True))
    calls: dict[int, str] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            calls[delta.index] = calls.get(delta.index, "") + delta.arguments
    assert sorted(calls.values()) == ['{"x":1}', "{}"]
