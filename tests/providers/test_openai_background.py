"""Answers that OpenAI stores, which a worker reads again after a crash."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from activities.providers.openai import OpenAIResponses
from open_responses.deltas import Finish, ItemEnd, ResumeToken, TextDelta
from open_responses.errors import (
    OpenResponsesError,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderUnavailable,
)
from open_responses.models import sealed_reasoning
from tests.support.openai_events import (
    COUNTED,
    FULL,
    HALF,
    broken_off,
    completed,
    created,
    error,
    heard,
    message,
    part,
    response,
    spoken,
    stream,
    written,
)
from tests.support.provider_wire import Answer, Wire, call, refusal, sampled, sse


async def test_an_answer_is_kept_nowhere_unless_the_configuration_says_so(http: httpx.AsyncClient) -> None:
    async with Wire(stream(*spoken(0, "ok"))) as wire:
        for resume, expected in ((None, "none"), ("none", "none"), ("prefill", "none"), ("background", "background")):
            provider = OpenAIResponses(wire.provider("openai", resume=resume), http, "sk")
            assert provider.resume_of(call()) == expected


async def test_what_is_to_be_stored_nowhere_is_not_sent_as_a_background_response(http: httpx.AsyncClient) -> None:
    async with Wire(stream(*spoken(0, "hello"))) as wire:
        provider = OpenAIResponses(wire.provider("openai", resume="background"), http, "sk")
        asked = call(store=False)
        assert provider.resume_of(asked) == "none"
        deltas = await sampled(provider, asked)
    assert (wire.requests[0].json.get("background"), wire.requests[0].json["store"]) == (None, False)
    assert not any(isinstance(delta, ResumeToken) for delta in deltas)


async def test_a_background_answer_says_first_by_what_it_can_be_read_again(http: httpx.AsyncClient) -> None:
    queued = {"type": "response.queued", "response": response("queued")}
    answer = sse(*created(), queued, *spoken(0, "Yes."), completed(), named=True)
    async with Wire(answer) as wire:
        provider = OpenAIResponses(wire.provider("openai", resume="background"), http, "sk")
        deltas = await sampled(provider, call(model="gpt-5"))
    body = wire.requests[0].json
    assert (body["background"], body["store"], body["stream"]) == (True, True, True)
    assert deltas == [ResumeToken("resp_up"), TextDelta("Yes."), ItemEnd(), Finish("stop", COUNTED, "gpt-5-2025-08-07")]


async def test_a_background_answer_is_read_again_from_its_beginning(http: httpx.AsyncClient) -> None:
    async with Wire(replace(FULL, cut=97)) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1", resume="background"), http, "sk")
        first = await sampled(provider, call())
        again = await sampled(provider, call(resume_token="resp_up"))
    assert again == first
    request = wire.requests[1]
    assert (request.method, request.path, request.body) == ("GET", "/v1/responses/resp_up?stream=true", b"")
    assert request.headers["authorization"] == "Bearer sk"


async def test_the_token_of_an_answer_is_no_path(http: httpx.AsyncClient) -> None:
    async with Wire(FULL, Answer(b"{}")) as wire:
        provider = OpenAIResponses(wire.provider("openai", resume="background"), http, "sk")
        await sampled(provider, call(resume_token="../files?x"))
        await provider.cancel(call(resume_token="../files?x"))
    assert wire.requests[0].path == "/responses/..%2Ffiles%3Fx?stream=true"
    assert wire.requests[1].path == "/responses/..%2Ffiles%3Fx/cancel"


async def test_a_background_answer_is_cancelled_with_the_key_that_it_was_begun_with(http: httpx.AsyncClient) -> None:
    async with Wire(Answer(b"{}")) as wire:
        provider = OpenAIResponses(wire.provider("openai", path="/v1", resume="background"), http, "sk")
        await provider.cancel(call(resume_token="resp_up"))
        await provider.cancel(call(resume_token="resp_up", api_key="own"))
    for request, key in zip(wire.requests, ("sk", "own"), strict=True):
        assert (request.method, request.path, request.body) == ("POST", "/v1/responses/resp_up/cancel", b"")
        assert request.headers["authorization"] == f"Bearer {key}"


async def test_a_cancellation_that_is_refused_is_an_error_of_the_tree(http: httpx.AsyncClient) -> None:
    async with Wire(refusal(404, error("Response with id 'resp_up' not found."))) as wire:
        provider = OpenAIResponses(wire.provider("openai", resume="background"), http, "sk")
        with pytest.raises(ProviderRejected):
            await provider.cancel(call(resume_token="resp_up"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, ProviderStreamBroken),
        (400, ProviderStreamBroken),
        (401, ProviderAuthentication),
        (429, ProviderRateLimited),
        (503, ProviderUnavailable),
    ],
)
async def test_an_answer_that_is_gone_is_broken_and_not_a_model_that_is_missing(
    http: httpx.AsyncClient, status: int, expected: type[OpenResponsesError]
) -> None:
    body = error("Response with id 'resp_up' not found.")
    with pytest.raises(expected) as caught:
        await heard(http, refusal(status, body), call(resume_token="resp_up"), resume="background")
    assert type(caught.value) is expected


async def test_a_background_connection_that_drops_is_broken_and_its_token_known(http: httpx.AsyncClient) -> None:
    async with Wire(replace(HALF, breaks=True)) as wire:
        deltas, error = await broken_off(OpenAIResponses(wire.provider("openai", resume="background"), http, "sk"))
    assert type(error) is ProviderStreamBroken
    assert deltas == [ResumeToken("resp_up"), TextDelta("Half")]


async def test_reasoning_that_openai_has_stored_goes_back_without_its_id(http: httpx.AsyncClient) -> None:
    seal = sealed_reasoning.mark("openai", json.dumps({"id": "rs_1", "summary": [], "encrypted_content": "gAA"}))
    sealed = {"type": "reasoning", "summary": [], "encrypted_content": seal}
    items = await written(http, sealed, message(part("Yes.")), resume="background")
    assert items[0] == {"type": "reasoning", "summary": [], "encrypted_content": "gAA"}
