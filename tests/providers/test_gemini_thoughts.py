"""The signatures of Gemini's thoughts, which go back to it in the next turn."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.gemini.conversation import SKIP_SIGNATURE
from open_responses.deltas import ReasoningSeal
from open_responses.json_types import JsonObject
from open_responses.models.sealed_reasoning import mark
from tests.support.gemini_chunks import GEMINI_2_5, answer_of, chunk, contents_of, function_call, text, user
from tests.support.provider_wire import made_call, output_of, outputs_of, sse


def sealed(**content: Any) -> JsonObject:
    return {"type": "reasoning", "summary": [], "encrypted_content": mark("gemini", json.dumps(content))}


async def test_the_signature_of_a_call_comes_back_on_that_call(http: httpx.AsyncClient) -> None:
    stream = sse(
        chunk(text("I need both.", thought=True)),
        chunk(function_call("get_weather", {"city": "Köln"}, thoughtSignature="Zmlyc3Q=")),
        chunk(function_call("get_time", {})),
        chunk(text(""), finish="STOP"),
    )
    items = outputs_of(await answer_of(http, stream))
    assert [item["type"] for item in items] == ["reasoning", "function_call", "function_call"]
    ids = [item["call_id"] for item in items[1:]]
    back = [user("hi"), *items, output_of(ids[1], "noon"), output_of(ids[0], "rain")]
    assert await contents_of(http, back) == [
        {"role": "user", "parts": [{"text": "hi"}]},
        {
            "role": "model",
            "parts": [
                {
                    "functionCall": {"id": ids[0], "name": "get_weather", "args": {"city": "Köln"}},
                    "thoughtSignature": "Zmlyc3Q=",
                },
                {"functionCall": {"id": ids[1], "name": "get_time", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": ids[0], "name": "get_weather", "response": {"output": "rain"}}},
                {"functionResponse": {"id": ids[1], "name": "get_time", "response": {"output": "noon"}}},
            ],
        },
    ]


@pytest.mark.parametrize(
    "parts",
    [
        [text("The answer "), text("is 4.", thoughtSignature="c2ln")],
        [text("The answer is 4."), text("", thoughtSignature="c2ln")],
        [text("The answer "), text("", thoughtSignature="c2ln"), text("is 4.")],
    ],
    ids=["on its last piece", "on an empty piece", "in its middle"],
)
async def test_the_signature_of_a_text_comes_back_on_that_text_and_does_not_cut_it(
    http: httpx.AsyncClient, parts: list[JsonObject]
) -> None:
    items = outputs_of(await answer_of(http, sse(*[chunk(part) for part in parts], chunk(text(""), finish="STOP"))))
    assert [item["type"] for item in items] == ["message", "reasoning"]
    contents = await contents_of(http, [user("2+2"), *items, user("sure?")])
    assert contents[1] == {"role": "model", "parts": [{"text": "The answer is 4.", "thoughtSignature": "c2ln"}]}


async def test_the_signature_of_a_thought_comes_back_on_that_thought(http: httpx.AsyncClient) -> None:
    stream = sse(chunk(text("Hm.", thought=True, thoughtSignature="c2ln")), chunk(text("Yes."), finish="STOP"))
    contents = await contents_of(http, [user("?"), *outputs_of(await answer_of(http, stream)), user("why")])
    thought = {"text": "Hm.", "thought": True, "thoughtSignature": "c2ln"}
    assert contents[1] == {"role": "model", "parts": [thought, {"text": "Yes."}]}


async def test_text_before_a_call_is_signed_before_the_call_is(http: httpx.AsyncClient) -> None:
    stream = sse(
        chunk(text("Let me look.", thoughtSignature="dGV4dA==")),
        chunk(function_call("get_time", {}, thoughtSignature="Y2FsbA=="), finish="STOP"),
    )
    items = outputs_of(await answer_of(http, stream))
    contents = await contents_of(http, [user("hi"), *items, output_of(items[-1]["call_id"])])
    assert [part.get("thoughtSignature") for part in contents[1]["parts"]] == ["dGV4dA==", "Y2FsbA=="]


async def test_an_answer_that_the_limit_cut_off_stays_an_open_message(http: httpx.AsyncClient) -> None:
    deltas = await answer_of(http, sse(chunk(text("so far", thoughtSignature="c2ln"), finish="MAX_TOKENS")))
    assert not [delta for delta in deltas if isinstance(delta, ReasoningSeal)]


@pytest.mark.parametrize(
    "model", ["gemini-3-pro-preview", "gemini-3.7-flash", "gemini-flash-latest", "models/gemini-4"]
)
async def test_calls_of_another_providers_history_have_googles_stand_in_once_a_step(
    http: httpx.AsyncClient, model: str
) -> None:
    foreign = {"type": "reasoning", "summary": [], "encrypted_content": mark("anthropic", '{"on": "call"}')}
    history = [user("hi"), foreign, made_call("a"), made_call("b"), output_of("a"), output_of("b")]
    history += [made_call("c"), output_of("c")]
    contents = await contents_of(http, history, model)
    signatures = [[part.get("thoughtSignature") for part in turn["parts"]] for turn in contents]
    assert signatures == [[None], [SKIP_SIGNATURE, None], [None, None], [SKIP_SIGNATURE], [None]]


async def test_models_before_the_third_generation_get_no_stand_in(http: httpx.AsyncClient) -> None:
    contents = await contents_of(http, [user("hi"), made_call("a"), output_of("a")], GEMINI_2_5)
    assert "thoughtSignature" not in contents[1]["parts"][0]


async def test_calls_made_side_by_side_are_one_step_again_where_each_has_its_result_behind_it(
    http: httpx.AsyncClient,
) -> None:
    """As MCP calls are told: without this, the second would be a step without a signature, which Gemini 3 refuses."""
    image = [{"type": "input_image", "image_url": "data:image/gif;base64,R0lG"}]
    history = [user("hi"), sealed(on="call", signature="c2ln"), made_call("a"), output_of("a", image)]
    history += [made_call("b"), output_of("b"), sealed(on="call", signature="bmV4dA=="), made_call("c"), output_of("c")]
    contents = await contents_of(http, history)
    shown = [[part.get("thoughtSignature") or next(iter(part)) for part in turn["parts"]] for turn in contents]
    assert shown == [
        ["text"],
        ["c2ln", "functionCall"],
        ["functionResponse", "functionResponse", "text", "inlineData"],
        ["bmV4dA=="],
        ["functionResponse"],
    ]


@pytest.mark.parametrize(
    "encrypted",
    [None, "gAAAAA", mark("openai", "x"), mark("gemini", "not json"), mark("gemini", "[1]"), mark("gemini", "{}")],
)
async def test_reasoning_that_is_not_ours_is_left_out(http: httpx.AsyncClient, encrypted: str | None) -> None:
    foreign = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}]}
    if encrypted is not None:
        foreign["encrypted_content"] = encrypted
    contents = await contents_of(http, [user("a"), foreign, {"role": "assistant", "content": "b"}, user("c")])
    assert contents[1] == {"role": "model", "parts": [{"text": "b"}]}


async def test_a_signature_without_its_call_is_not_given_to_a_later_one(http: httpx.AsyncClient) -> None:
    lost = [user("a"), sealed(on="call", signature="bG9zdA=="), user("b"), made_call("x"), output_of("x")]
    assert (await contents_of(http, lost, GEMINI_2_5))[1]["parts"][0].get("thoughtSignature") is None
