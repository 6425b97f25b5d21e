"""The errors of Gemini's API, before and in the middle of a stream."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from activities.providers.gemini import Gemini
from open_responses.deltas import Delta, TextDelta
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
from open_responses.json_types import JsonObject
from tests.support.gemini_chunks import GEMINI_3, HELLO, answer_of, chunk, text
from tests.support.provider_wire import Answer, Wire, call, refusal, sampled, sse, text_of


def status(code: int, message: str, name: str, *details: JsonObject) -> JsonObject:
    error: JsonObject = {"code": code, "message": message, "status": name}
    return {"error": error | ({"details": list(details)} if details else {})}


_INFO = "type.googleapis.com/google.rpc."
WRONG_KEY = status(
    400,
    "API key not valid. Please pass a valid API key.",
    "INVALID_ARGUMENT",
    {"@type": f"{_INFO}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"},
)
QUOTA = status(
    429,
    "You exceeded your current quota, please check your plan.",
    "RESOURCE_EXHAUSTED",
    {"@type": f"{_INFO}QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinute-FreeTier"}]},
    {"@type": f"{_INFO}RetryInfo", "retryDelay": "34.4s"},
)
TOO_LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
FAILURES = [
    (400, WRONG_KEY, ProviderAuthentication, "provider_authentication"),
    (403, status(403, "Permission denied.", "PERMISSION_DENIED"), ProviderAuthentication, "provider_authentication"),
    (400, status(400, "Penalty is not enabled", "INVALID_ARGUMENT"), ProviderRejected, "provider_rejected_request"),
    (400, status(400, TOO_LONG, "INVALID_ARGUMENT"), ContextLengthExceeded, "context_length_exceeded"),
    (404, status(404, "models/gemini-9 is not found", "NOT_FOUND"), ProviderRejected, "model_not_found"),
    (429, QUOTA, ProviderRateLimited, "rate_limit_exceeded"),
    (
        429,
        status(429, "Your prepayment credits are depleted.", "RESOURCE_EXHAUSTED"),
        ProviderRejected,
        "insufficient_quota",
    ),
    (500, status(500, "An internal error has occurred.", "INTERNAL"), ProviderUnavailable, "provider_unavailable"),
    (503, status(503, "The model is overloaded.", "UNAVAILABLE"), ProviderUnavailable, "provider_unavailable"),
    (504, status(504, "Deadline expired.", "DEADLINE_EXCEEDED"), ProviderUnavailable, "provider_unavailable"),
    (499, status(499, "The operation was cancelled.", "CANCELLED"), ProviderUnavailable, "provider_unavailable"),
]


@pytest.mark.parametrize("as_array", [False, True])
@pytest.mark.parametrize(("code", "body", "error", "our_code"), FAILURES)
async def test_an_error_status_is_ours_with_googles_message(
    http: httpx.AsyncClient,
    code: int,
    body: JsonObject,
    error: type[OpenResponsesError],
    our_code: str,
    as_array: bool,
) -> None:
    with pytest.raises(error) as raised:
        await answer_of(http, refusal(code, [body] if as_array else body))
    assert raised.value.error_code == our_code
    if error is not ProviderAuthentication:
        assert body["error"]["message"] in raised.value.message


@pytest.mark.parametrize("bare", [False, True], ids=["as an event", "as a bare object"])
@pytest.mark.parametrize(("code", "body", "error", "our_code"), FAILURES)
async def test_an_error_in_the_middle_of_the_stream_is_like_its_http_twin(
    http: httpx.AsyncClient,
    code: int,
    body: JsonObject,
    error: type[OpenResponsesError],
    our_code: str,
    bare: bool,
) -> None:
    begun = sse(chunk(text("so far")))
    end = json.dumps(body, indent=2).encode() if bare else b"data: " + json.dumps(body).encode() + b"\n\n"
    seen: list[Delta] = []

    async def read(adapter: Gemini) -> None:
        async for delta in adapter.sample(call("hi", model=GEMINI_3)):
            seen.append(delta)

    async with Wire(replace(begun, body=begun.body + end)) as wire:
        with pytest.raises(error) as raised:
            await read(Gemini(wire.provider("gemini"), http, "key"))
    assert seen == [TextDelta("so far")]
    assert raised.value.error_code == our_code


async def test_the_time_to_wait_is_among_the_details(http: httpx.AsyncClient) -> None:
    with pytest.raises(ProviderRateLimited) as raised:
        await answer_of(http, refusal(429, QUOTA))
    assert raised.value.retry_after == pytest.approx(34.4)


async def test_the_header_tells_the_time_to_wait_where_the_details_do_not(http: httpx.AsyncClient) -> None:
    with pytest.raises(ProviderUnavailable) as raised:
        await answer_of(http, refusal(503, status(503, "overloaded", "UNAVAILABLE"), retry_after="7"))
    assert raised.value.retry_after == 7


@pytest.mark.parametrize("own", [None, "the-requests-key"])
async def test_a_wrong_key_is_named_by_where_it_came_from_and_never_shown(
    http: httpx.AsyncClient, own: str | None
) -> None:
    async with Wire(refusal(400, WRONG_KEY)) as wire:
        adapter = Gemini(wire.provider("gemini", api_key_env="GEMINI_API_KEY"), http, "the-configured-key")
        with pytest.raises(ProviderAuthentication) as raised:
            await sampled(adapter, call("hi", model=GEMINI_3, api_key=own))
    assert ("that you sent" if own else "GEMINI_API_KEY") in raised.value.message
    assert "the-" not in raised.value.message.replace("the request", "")


async def test_an_error_page_of_a_proxy_is_its_status(http: httpx.AsyncClient) -> None:
    with pytest.raises(ProviderUnavailable, match="Bad Gateway"):
        await answer_of(http, Answer(b"<html>Bad Gateway</html>", 502, "text/html"))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (sse(chunk(text("so far"))), ProviderStreamBroken),
        (replace(sse(chunk(text("so far"))), breaks=True), ProviderStreamBroken),
        (replace(HELLO, body=HELLO.body[:-30]), ProviderStreamBroken),
        (Answer(b"data: {nonsense\n\n", content_type="text/event-stream"), ProviderStreamBroken),
        (Answer(b"data: [1]\n\n", content_type="text/event-stream"), ProviderStreamBroken),
        (Answer(b"", content_type="text/event-stream"), ProviderStreamBroken),
        (Answer(b"<html>", content_type="text/html"), ProviderStreamBroken),
        (sse(chunk(text("x")), chunk(finish="FINISH_REASON_UNSPECIFIED")), ProviderStreamBroken),
    ],
    ids=["no end", "broken", "half an event", "no json", "no object", "nothing", "a page", "unspecified"],
)
async def test_a_stream_without_its_end_is_broken(
    http: httpx.AsyncClient, answer: Answer, error: type[OpenResponsesError]
) -> None:
    with pytest.raises(error):
        await answer_of(http, answer)


async def test_a_silent_stream_times_out(http: httpx.AsyncClient) -> None:
    async with Wire(replace(sse(chunk(text("so far"))), stalls=True)) as wire:
        adapter = Gemini(wire.provider("gemini", timeout_seconds=0.2), http, "key")
        with pytest.raises(ProviderTimeout):
            await sampled(adapter, call("hi", model=GEMINI_3))


async def test_a_server_that_is_not_there_is_unavailable(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        gone = wire.provider("gemini")
    with pytest.raises(ProviderUnavailable):
        await sampled(Gemini(gone, http, "key"), call("hi", model=GEMINI_3))


async def test_unknown_fields_parts_and_comments_are_passed_over(http: httpx.AsyncClient) -> None:
    odd = {**chunk({"hologram": {}}, text("hi"), finish="STOP", tomorrow=1), "also": [1]}
    stream = sse(odd)
    stream = replace(stream, body=b": keep-alive\n\nevent: message\nid: 1\nretry: 5\n" + stream.body)
    assert text_of(await answer_of(http, stream)) == "hi"
