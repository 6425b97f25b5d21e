"""The errors of Anthropic's Messages API, before and in the middle of a stream."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from activities.providers.anthropic import Anthropic
from open_responses.contracts import SampleCall
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
from tests.support.anthropic_events import HELLO, KEY, OWN_KEY, SONNET_4_5, block, end, error, start, stream, text
from tests.support.provider_wire import Answer, Wire, call, failure_of, refusal, sampled


async def failed(
    http: httpx.AsyncClient, answer: Answer, call_: SampleCall | None = None, **config: Any
) -> OpenResponsesError:
    async with Wire(answer) as wire:
        adapter = Anthropic(wire.provider("anthropic", **config), http, KEY)
        error = await failure_of(adapter, call_ or call(model=SONNET_4_5))
    assert not any(key in repr(error) + str(vars(error)) for key in (KEY, OWN_KEY))
    return error


FAILURES: list[tuple[int, str, str, type[OpenResponsesError], str]] = [
    (400, "invalid_request_error", "messages.1: bad", ProviderRejected, "provider_rejected_request"),
    (
        400,
        "invalid_request_error",
        "prompt is too long: 208310 tokens > 200000 maximum",
        ContextLengthExceeded,
        "context_length_exceeded",
    ),
    (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API.",
        ProviderRejected,
        "insufficient_quota",
    ),
    (401, "authentication_error", "invalid x-api-key", ProviderAuthentication, "provider_authentication"),
    (402, "billing_error", "Check your billing.", ProviderRejected, "insufficient_quota"),
    (403, "permission_error", "not yours", ProviderAuthentication, "provider_authentication"),
    (404, "not_found_error", "model: claude-nope", ProviderRejected, "model_not_found"),
    (413, "request_too_large", "Request exceeds the maximum size", ProviderRejected, "provider_rejected_request"),
    (429, "rate_limit_error", "too many", ProviderRateLimited, "rate_limit_exceeded"),
    (500, "api_error", "Internal server error", ProviderUnavailable, "provider_unavailable"),
    (504, "timeout_error", "took too long", ProviderUnavailable, "provider_unavailable"),
    (529, "overloaded_error", "Overloaded", ProviderUnavailable, "provider_unavailable"),
]


@pytest.mark.parametrize("is_streaming", [False, True])
@pytest.mark.parametrize(("status", "kind", "message", "expected", "code"), FAILURES)
async def test_an_error_means_the_same_before_and_in_the_middle_of_a_stream(
    http: httpx.AsyncClient,
    status: int,
    kind: str,
    message: str,
    expected: type[OpenResponsesError],
    code: str,
    is_streaming: bool,
) -> None:
    body = error(kind, message)
    answer = stream(start(), *text(0, "Hel"), body) if is_streaming else refusal(status, body)
    caught = await failed(http, answer)
    assert type(caught) is expected
    assert caught.error_code == code


@pytest.mark.parametrize("status", [429, 529])
async def test_the_wait_is_the_vendors(http: httpx.AsyncClient, status: int) -> None:
    answer = refusal(status, error("rate_limit_error", "slow down"), retry_after="17")
    assert (await failed(http, answer)).retry_after == 17


async def test_a_wrong_key_is_whose_it_is(http: httpx.AsyncClient) -> None:
    answer = refusal(401, error("authentication_error", "invalid x-api-key"))
    configured = await failed(http, answer, api_key_env="ANTHROPIC_API_KEY")
    own = await failed(http, answer, call(api_key=OWN_KEY), api_key_env="ANTHROPIC_API_KEY")
    assert "ANTHROPIC_API_KEY" in configured.message
    assert "the provider key that you sent" in own.message


async def test_an_error_that_is_not_json_keeps_its_text(http: httpx.AsyncClient) -> None:
    caught = await failed(http, Answer(b"<html>Bad gateway</html>", 502, content_type="text/html"))
    assert isinstance(caught, ProviderUnavailable)
    assert "Bad gateway" in caught.message


async def test_an_error_with_status_200_is_an_error(http: httpx.AsyncClient) -> None:
    caught = await failed(http, Answer(b'{"code": 500, "msg": "busy", "success": false}'))
    assert isinstance(caught, ProviderUnavailable)
    assert "busy" in caught.message


async def test_a_stream_without_its_end_is_broken(http: httpx.AsyncClient) -> None:
    assert isinstance(await failed(http, stream(start(), *text(0, "Hello"))), ProviderStreamBroken)


async def test_a_connection_that_breaks_is_a_broken_stream(http: httpx.AsyncClient) -> None:
    cut = Answer(HELLO.body[:-200], content_type=HELLO.content_type, breaks=True)
    assert isinstance(await failed(http, cut), ProviderStreamBroken)


@pytest.mark.parametrize("sent", [0, 300])
async def test_silence_is_a_timeout(http: httpx.AsyncClient, sent: int) -> None:
    silent = Answer(HELLO.body[:sent], content_type=HELLO.content_type, stalls=True)
    assert isinstance(await failed(http, silent, timeout_seconds=0.2), ProviderTimeout)


async def test_a_server_that_is_not_there_is_unavailable(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        config = wire.provider("anthropic")
    with pytest.raises(ProviderUnavailable):
        await sampled(Anthropic(config, http, KEY), call())


@pytest.mark.parametrize("data", [b"{broken", b"[1]", b"\xff\xfe"])
async def test_what_is_not_json_is_a_broken_stream(http: httpx.AsyncClient, data: bytes) -> None:
    answer = Answer(b"event: message_start\ndata: " + data + b"\n\n", content_type="text/event-stream")
    assert isinstance(await failed(http, answer), ProviderStreamBroken)


async def test_a_built_in_tools_broken_input_is_a_broken_stream(http: httpx.AsyncClient) -> None:
    started = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    broken = block(0, started, {"type": "input_json_delta", "partial_json": "{"})
    assert isinstance(await failed(http, stream(start(), *broken, *end())), ProviderStreamBroken)
