"""The `gemini` adapter over a real socket, on streams in Gemini's true form.

The shapes follow recorded streams and errors of vercel/ai (`packages/google/src/__fixtures__`) and pydantic-ai
(`tests/models/cassettes/test_google`); the words are ours.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import httpx
import pytest
import pytest_asyncio

from activities.providers.gemini import Gemini
from activities.providers.gemini.conversation import SKIP_SIGNATURE
from activities.providers.gemini.schema import gemini_schema
from activities.providers.shared.http import open_http_client
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    ProviderItem,
    ReasoningSeal,
    ReasoningSummaryDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    OpenResponsesError,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)
from open_responses.json_types import JsonObject
from open_responses.models.sealed_reasoning import mark
from tests.support.provider_wire import (
    CLOCK,
    WEATHER,
    Answer,
    Wire,
    call,
    finish_of,
    made_call,
    output_of,
    outputs_of,
    refusal,
    sampled,
    sse,
    text_of,
)

GEMINI_3 = "gemini-3-flash-preview"
GEMINI_2_5 = "gemini-2.5-flash"
USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 60, "thoughtsTokenCount": 42}


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_client() as client:
        yield client


def chunk(*parts: JsonObject, finish: str | None = None, usage: JsonObject | None = USAGE, **more: Any) -> JsonObject:
    candidate: JsonObject = {"index": 0, **more}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if finish:
        candidate["finishReason"] = finish
    counted = {"usageMetadata": usage} if usage is not None else {}
    return {"candidates": [candidate], **counted, "modelVersion": "gemini-3-flash", "responseId": "r1"}


def text(said: str, **more: Any) -> JsonObject:
    return {"text": said, **more}


def function_call(name: str, args: JsonObject | None = None, **more: Any) -> JsonObject:
    return {"functionCall": {"name": name, **({"args": args} if args is not None else {})}, **more}


def crlf(answer: Answer) -> Answer:
    """As Google ends its lines."""
    return replace(answer, body=answer.body.replace(b"\n", b"\r\n"))


HELLO = sse(chunk(text("Hello")), chunk(text(""), finish="STOP"))


async def answer_of(http: httpx.AsyncClient, answer: Answer, asked: SampleCall | None = None) -> list[Delta]:
    async with Wire(answer) as wire:
        return await sampled(Gemini(wire.provider("gemini"), http, "key"), asked or call("hello", model=GEMINI_3))


async def sent_by(http: httpx.AsyncClient, asked: SampleCall) -> JsonObject:
    async with Wire(HELLO) as wire:
        await sampled(Gemini(wire.provider("gemini"), http, "key"), asked)
        return wire.requests[0].json


async def contents_of(http: httpx.AsyncClient, items: list[JsonObject], model: str = GEMINI_3) -> list[JsonObject]:
    contents: list[JsonObject] = (await sent_by(http, call(items, model=model)))["contents"]
    return contents


def user(said: Any) -> JsonObject:
    return {"role": "user", "content": said}


def sealed(**content: Any) -> JsonObject:
    return {"type": "reasoning", "summary": [], "encrypted_content": mark("gemini", json.dumps(content))}


# --- the answer


async def test_text_comes_as_it_streams_and_the_last_counts_are_the_usage(http: httpx.AsyncClient) -> None:
    early = {**USAGE, "candidatesTokenCount": 1, "thoughtsTokenCount": 3}
    last = {**USAGE, "cachedContentTokenCount": 5, "toolUsePromptTokenCount": 100}
    stream = sse(chunk(text("Grüß "), usage=early), chunk(text("dich 🌍")), chunk(text(""), finish="STOP", usage=last))
    assert await answer_of(http, crlf(stream)) == [
        TextDelta("Grüß "),
        TextDelta("dich 🌍"),
        Finish(
            "stop",
            Usage(input_tokens=111, output_tokens=49, cached_tokens=5, reasoning_tokens=42),
            "gemini-3-flash",
        ),
    ]


EVERYTHING = [
    chunk(text("**Plan**\n\nI look.", thought=True)),
    chunk(
        text("Before\u2028the calls: ä🌍"), logprobsResult={"chosenCandidates": [{"token": "x", "logProbability": -1}]}
    ),
    chunk(function_call("get_weather", {"city": "Köln"}, thoughtSignature="c2lnLTE=")),
    chunk(function_call("get_time", {}), finish="STOP"),
]


@pytest.mark.parametrize("ends", ["lf", "crlf"])
async def test_a_stream_cut_at_every_byte_gives_the_same_deltas(http: httpx.AsyncClient, ends: str) -> None:
    whole = sse(*EVERYTHING) if ends == "lf" else crlf(sse(*EVERYTHING))
    assert await answer_of(http, replace(whole, cut=1)) == await answer_of(http, whole)


async def test_an_answer_that_is_one_array_reads_like_a_stream(http: httpx.AsyncClient) -> None:
    whole = Answer(json.dumps(EVERYTHING).encode())
    assert await answer_of(http, whole) == await answer_of(http, sse(*EVERYTHING))


async def test_an_empty_answer_is_nothing_but_its_end(http: httpx.AsyncClient) -> None:
    assert [type(delta) for delta in await answer_of(http, sse(chunk(text(""), finish="STOP")))] == [Finish]


async def test_a_very_long_answer_arrives_whole(http: httpx.AsyncClient) -> None:
    pieces = [f"{index} äöü " * 50 for index in range(400)]
    deltas = await answer_of(http, sse(*[chunk(text(piece)) for piece in pieces], chunk(text(""), finish="STOP")))
    assert text_of(deltas) == "".join(pieces)


async def test_thoughts_are_a_summary_of_the_reasoning(http: httpx.AsyncClient) -> None:
    stream = sse(
        chunk(text("First. ", thought=True)), chunk(text("Then.", thought=True)), chunk(text("42"), finish="STOP")
    )
    assert (await answer_of(http, stream))[:-1] == [
        ReasoningSummaryDelta("First. "),
        ReasoningSummaryDelta("Then."),
        TextDelta("42"),
    ]


async def test_parallel_calls_have_indices_of_their_own_and_only_the_ids_that_google_gave(
    http: httpx.AsyncClient,
) -> None:
    second: JsonObject = {"functionCall": {"id": "g-2", "name": "get_weather", "args": {"city": "Bonn"}}}
    stream = sse(chunk(function_call("get_weather", {"city": "Köln"}), second), chunk(text(""), finish="STOP"))
    deltas = await answer_of(http, stream)
    assert deltas[:-1] == [
        ToolCallDelta(0, '{"city": "Köln"}', None, "get_weather"),
        ToolCallDelta(1, '{"city": "Bonn"}', "g-2", "get_weather"),
    ]
    assert finish_of(deltas).reason == "tool_calls"


@pytest.mark.parametrize("args", [None, {}])
async def test_a_call_without_arguments_has_an_empty_object(http: httpx.AsyncClient, args: JsonObject | None) -> None:
    deltas = await answer_of(http, sse(chunk(function_call("get_time", args), finish="STOP")))
    assert deltas[0] == ToolCallDelta(0, "{}", None, "get_time")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
    ],
)
async def test_finish_reasons_are_ours(http: httpx.AsyncClient, theirs: str, ours: str) -> None:
    deltas = await answer_of(http, sse(chunk(text("so far")), chunk(finish=theirs)))
    assert (text_of(deltas), finish_of(deltas).reason) == ("so far", ours)


async def test_calls_that_the_limit_cut_off_are_no_tool_calls(http: httpx.AsyncClient) -> None:
    deltas = await answer_of(http, sse(chunk(function_call("get_time", {})), chunk(finish="MAX_TOKENS")))
    assert finish_of(deltas).reason == "length"


@pytest.mark.parametrize(
    ("theirs", "error"),
    [
        ("MALFORMED_FUNCTION_CALL", ProviderStreamBroken),
        ("UNEXPECTED_TOOL_CALL", ProviderStreamBroken),
        ("OTHER", ProviderStreamBroken),
        ("A_REASON_OF_TOMORROW", ProviderStreamBroken),
        ("TOO_MANY_TOOL_CALLS", ProviderRejected),
        ("MISSING_THOUGHT_SIGNATURE", ProviderRejected),
    ],
)
async def test_an_answer_that_google_broke_off_is_an_error_that_says_why(
    http: httpx.AsyncClient, theirs: str, error: type[OpenResponsesError]
) -> None:
    with pytest.raises(error, match=f"{theirs}: print\\(get_time\\(\\)\\)"):
        await answer_of(http, sse(chunk(finish=theirs, finishMessage="print(get_time())")))


async def test_a_blocked_prompt_is_a_content_filter_with_its_usage(http: httpx.AsyncClient) -> None:
    blocked = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
        "modelVersion": "gemini-3.7-flash",
    }
    expected = Finish("content_filter", Usage(input_tokens=9), "gemini-3.7-flash")
    assert await answer_of(http, sse(blocked)) == [expected]


async def test_code_that_google_ran_is_kept_whole_and_goes_back_as_it_came(http: httpx.AsyncClient) -> None:
    ran: JsonObject = {"executableCode": {"language": "PYTHON", "code": "print(2**10)"}, "thought": True}
    gave: JsonObject = {
        "codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1024\n"},
        "thoughtSignature": "c2ln",
    }
    # The recorded stream says STOP before the result already.
    stream = sse(chunk(ran, finish="STOP"), chunk(gave), chunk(text("1024"), finish="STOP"))
    deltas = await answer_of(http, stream)
    assert deltas[:-1] == [
        ProviderItem({"type": "executable_code", "part": ran}),
        ProviderItem({"type": "code_execution_result", "part": gave}),
        TextDelta("1024"),
    ]
    contents = await contents_of(http, [user("2**10?"), *outputs_of(deltas), user("sure?")])
    assert contents[1] == {"role": "model", "parts": [ran, gave, {"text": "1024"}]}


async def test_calls_of_built_in_tools_beside_functions_go_back_as_they_came(http: httpx.AsyncClient) -> None:
    asked: JsonObject = {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {"q": "x"}, "id": "s1"}}
    found: JsonObject = {"toolResponse": {"toolType": "GOOGLE_SEARCH_WEB", "id": "s1"}, "thoughtSignature": "c2ln"}
    stream = sse(chunk(asked, found), chunk(function_call("get_time", {}, thoughtSignature="Y2FsbA=="), finish="STOP"))
    items = outputs_of(await answer_of(http, stream))
    contents = await contents_of(http, [user("hi"), *items, output_of(items[-1]["call_id"])])
    assert contents[1]["parts"][:2] == [asked, found]
    assert contents[1]["parts"][2]["thoughtSignature"] == "Y2FsbA=="


async def test_an_image_is_an_item_and_goes_back_with_its_signature(http: httpx.AsyncClient) -> None:
    drawn: JsonObject = {"inlineData": {"mimeType": "image/png", "data": "aW1n"}, "thoughtSignature": "c2ln"}
    draft: JsonObject = {"inlineData": {"mimeType": "image/png", "data": "ZHJhZnQ="}, "thought": True}
    deltas = await answer_of(http, sse(chunk(draft, drawn), chunk(text(""), finish="STOP")))
    (item, _) = deltas
    assert isinstance(item, ProviderItem)
    assert {**item.item, "result": "aW1n", "output_format": "png"} == item.item
    contents = await contents_of(http, [user("draw"), *outputs_of(deltas), user("bluer")])
    assert contents[1] == {"role": "model", "parts": [drawn]}


async def test_citations_count_characters_where_google_counts_bytes(http: httpx.AsyncClient) -> None:
    said = "Überall ☀️. Köln hat 20°."
    quoted = "Köln hat 20°."
    start = len(said[: said.index(quoted)].encode())
    grounding = {
        "groundingChunks": [
            {"web": {"uri": "https://a.example/1", "title": "a.example"}},
            {"retrievedContext": {"text": "no address"}},
            {"web": {"uri": "https://b.example/2"}},
        ],
        "groundingSupports": [
            {
                "segment": {"startIndex": start, "endIndex": start + len(quoted.encode()), "text": quoted},
                "groundingChunkIndices": [0, 1, 2, 7],
            },
            {"segment": {"startIndex": 900, "endIndex": 950, "text": "not in there"}, "groundingChunkIndices": [0]},
        ],
    }
    cut = said.index("Köln") + 2
    stream = sse(
        chunk(text(said[:cut]), groundingMetadata={}),
        chunk(text(said[cut:]), finish="STOP", groundingMetadata=grounding),
        chunk(text(""), finish="STOP", groundingMetadata=grounding),
    )
    found = [delta.annotation for delta in await answer_of(http, stream) if isinstance(delta, TextAnnotation)]
    assert [(a["type"], a["url"], a["title"]) for a in found] == [
        ("url_citation", "https://a.example/1", "a.example"),
        ("url_citation", "https://b.example/2", "https://b.example/2"),
    ]
    assert {said[a["start_index"] : a["end_index"]] for a in found} == {quoted}


async def test_citations_of_a_second_message_count_from_its_own_beginning(http: httpx.AsyncClient) -> None:
    first, second = "Erst rechnen wir: ä.", "Dann, und nur Dann."
    start = len((first + "Dann, und nur ").encode())
    support = {"segment": {"startIndex": start, "endIndex": start + 4, "text": "Dann"}, "groundingChunkIndices": [0]}
    grounding = {"groundingChunks": [{"web": {"uri": "https://a.example"}}], "groundingSupports": [support]}
    code: JsonObject = {"executableCode": {"language": "PYTHON", "code": "1"}}
    stream = sse(chunk(text(first)), chunk(code), chunk(text(second), finish="STOP", groundingMetadata=grounding))
    (found,) = [delta.annotation for delta in await answer_of(http, stream) if isinstance(delta, TextAnnotation)]
    assert (found["start_index"], found["end_index"]) == (14, 18)


async def test_logprobs_have_the_shape_of_the_specification(http: httpx.AsyncClient) -> None:
    result = {
        "chosenCandidates": [{"token": "ja", "tokenId": 5, "logProbability": -0.25}],
        "topCandidates": [
            {"candidates": [{"token": "ja", "logProbability": -0.25}, {"token": "ä", "logProbability": -2}]}
        ],
    }
    deltas = await answer_of(http, sse(chunk(text("ja"), finish="STOP", logprobsResult=result)))
    top = [
        {"token": "ja", "logprob": -0.25, "bytes": [106, 97]},
        {"token": "ä", "logprob": -2, "bytes": [195, 164]},
    ]
    assert deltas[0] == TextDelta("ja", [{**top[0], "top_logprobs": top}])


async def test_usage_without_a_count_of_the_answer_is_what_the_total_leaves(http: httpx.AsyncClient) -> None:
    counted = {"promptTokenCount": 10, "totalTokenCount": 25, "thoughtsTokenCount": 4}
    deltas = await answer_of(http, sse(chunk(text("hi"), finish="STOP", usage=counted)))
    assert finish_of(deltas).usage == Usage(input_tokens=10, output_tokens=15, reasoning_tokens=4)


async def test_a_stream_without_usage_is_counted_and_marked_as_an_estimate(http: httpx.AsyncClient) -> None:
    deltas = await answer_of(http, sse(chunk(text("x" * 41), finish="STOP", usage=None)))
    usage = finish_of(deltas).usage
    assert (usage.output_tokens, usage.estimated) == (11, True)
    assert usage.input_tokens > 0


# --- thoughts on their way back


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


# --- the request


async def test_the_key_travels_in_a_header_and_the_requests_own_goes_first(http: httpx.AsyncClient) -> None:
    async with Wire(HELLO) as wire:
        adapter = Gemini(wire.provider("gemini"), http, "configured-key")
        await sampled(adapter, call("hello", model=GEMINI_3))
        await sampled(adapter, call("hello", model="tunedModels/mine", api_key="own-key"))
        await sampled(Gemini(wire.provider("gemini"), http, None), call("hello", model="odd?name"))
    assert [request.headers.get("x-goog-api-key") for request in wire.requests] == ["configured-key", "own-key", None]
    assert [request.path for request in wire.requests] == [
        f"/v1beta/models/{GEMINI_3}:streamGenerateContent?alt=sse",
        "/v1beta/tunedModels/mine:streamGenerateContent?alt=sse",
        "/v1beta/models/odd%3Fname:streamGenerateContent?alt=sse",
    ]
    assert "key" not in repr(adapter)


async def test_what_the_client_did_not_set_is_not_sent(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hello", model=GEMINI_3))
    assert sent == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


async def test_settings_have_googles_names(http: httpx.AsyncClient) -> None:
    asked = call(
        "hello",
        model=GEMINI_3,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_output_tokens=100,
        stop=["END"],
        seed=2**32 - 1,
        presence_penalty=1,
        frequency_penalty=-1,
        top_logprobs=3,
        service_tier="flex",
    )
    sent = await sent_by(http, asked)
    assert sent["generationConfig"] == {
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 100,
        "stopSequences": ["END"],
        "seed": 2**31 - 1,
        "presencePenalty": 1,
        "frequencyPenalty": -1,
        "responseLogprobs": True,
        "logprobs": 3,
    }
    assert sent["serviceTier"] == "flex"


async def test_logprobs_alone_are_asked_for_by_include(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hello", include=["message.output_text.logprobs"]))
    assert sent["generationConfig"] == {"responseLogprobs": True}


async def test_instructions_and_leading_system_messages_are_the_system_instruction(http: httpx.AsyncClient) -> None:
    items = [{"role": "developer", "content": "Rhyme."}, {"role": "system", "content": "Be kind."}, user("hi")]
    sent = await sent_by(http, call(items, model=GEMINI_3, instructions="Be brief.", text={"verbosity": "low"}))
    *given, verbosity = [part["text"] for part in sent["systemInstruction"]["parts"]]
    assert given == ["Be brief.", "Rhyme.", "Be kind."]
    assert "short" in verbosity
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]


async def test_a_system_message_in_the_middle_stays_in_its_place(http: httpx.AsyncClient) -> None:
    items = [
        user("hi"),
        {"role": "assistant", "content": "ho"},
        {"role": "system", "content": "Now rhyme."},
        user("go"),
    ]
    sent = await sent_by(http, call(items, model=GEMINI_3))
    assert "systemInstruction" not in sent
    assert sent["contents"][2] == {
        "role": "user",
        "parts": [{"text": "<system_message>\nNow rhyme.\n</system_message>"}, {"text": "go"}],
    }


async def test_consecutive_roles_are_one_turn(http: httpx.AsyncClient) -> None:
    said = [
        {"type": "output_text", "text": "c"},
        {"type": "refusal", "refusal": "d"},
        {"type": "output_text", "text": ""},
    ]
    items = [user("a"), user("b"), {"role": "assistant", "content": said}, {"role": "assistant", "content": "e"}]
    assert await contents_of(http, [*items, user("")]) == [
        {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
        {"role": "model", "parts": [{"text": "c"}, {"text": "d"}, {"text": "e"}]},
    ]


@pytest.mark.parametrize(
    ("items", "roles"),
    [
        ([{"role": "assistant", "content": "Welcome."}, user("hi")], ["user", "model", "user"]),
        ([made_call("a"), output_of("a")], ["user", "model", "user"]),
        ([{"role": "developer", "content": "Begin."}], ["user"]),
        ([user("")], ["user"]),
    ],
)
async def test_contents_begin_with_a_users_turn(
    http: httpx.AsyncClient, items: list[JsonObject], roles: list[str]
) -> None:
    assert [turn["role"] for turn in await contents_of(http, items)] == roles


async def test_each_turns_answers_stand_together_behind_it_wherever_the_outputs_were(http: httpx.AsyncClient) -> None:
    items = [user("q"), made_call("a"), made_call("b"), user("hurry"), output_of("b", "2"), output_of("a", "1")]
    turns = await contents_of(http, items)
    assert [turn["role"] for turn in turns] == ["user", "model", "user"]
    answers = [part["functionResponse"]["response"]["output"] for part in turns[2]["parts"][:2]]
    assert (answers, turns[2]["parts"][2]) == (["1", "2"], {"text": "hurry"})


async def test_an_id_that_is_used_again_finds_the_output_behind_it(http: httpx.AsyncClient) -> None:
    items = [user("q"), made_call("a"), output_of("a", "1"), made_call("a"), output_of("a", "2")]
    turns = await contents_of(http, items)
    outputs = [
        p["functionResponse"]["response"]["output"] for t in turns for p in t["parts"] if "functionResponse" in p
    ]
    assert outputs == ["1", "2"]


@pytest.mark.parametrize(
    ("items", "param", "code"),
    [
        ([user("q"), made_call("a")], "input[1]", "missing_tool_output"),
        ([user("q"), output_of("a")], "input[1].call_id", "unknown_tool_call"),
        ([user("q"), {"type": "compaction", "encrypted_content": "x"}], "input[1]", "unsupported_item"),
        ([user("q"), {"type": "computer_call"}], "input[1]", "unsupported_item"),
        ([user([{"type": "input_image", "file_id": "f"}])], "input[0].content[0]", "unsupported_content"),
        ([user([{"type": "input_file", "file_id": "f"}])], "input[0].content[0]", "unsupported_content"),
        ([user([{"type": "input_file", "file_data": "/wD/"}])], "input[0].content[0]", "unsupported_content"),
        ([user([{"type": "input_image", "image_url": "data:image/png"}])], "input[0].content[0]", "invalid_value"),
    ],
)
async def test_what_gemini_cannot_take_is_refused_before_the_call(
    http: httpx.AsyncClient, items: list[JsonObject], param: str, code: str
) -> None:
    async with Wire(HELLO) as wire:
        with pytest.raises(InvalidRequest) as refused:
            await sampled(Gemini(wire.provider("gemini"), http, "key"), call(items, model=GEMINI_3))
    assert (refused.value.param, refused.value.error_code) == (param, code)
    assert wire.requests == []


@pytest.mark.parametrize("kind", ["web_search_call", "server_tool_use", "image_generation_call", "open_responses:note"])
async def test_what_other_providers_tools_left_is_left_out(http: httpx.AsyncClient, kind: str) -> None:
    contents = await contents_of(http, [user("a"), {"type": kind, "id": "x", "result": "aW1n"}, user("b")])
    assert contents == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]


@pytest.mark.parametrize("written", ['{"city": "Kö', "[1]", "null"])
async def test_broken_arguments_go_back_as_the_model_wrote_them(http: httpx.AsyncClient, written: str) -> None:
    turns = await contents_of(http, [user("q"), made_call("a", arguments=written), output_of("a")])
    assert turns[1]["parts"][0]["functionCall"]["args"] == {"invalid_json": written}


PDF = base64.b64encode(b"%PDF-1.7 x").decode()
NOTE = base64.b64encode("grün".encode()).decode()


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (
            {"type": "input_image", "image_url": "data:image/png;base64,aW1n", "detail": "high"},
            {"inlineData": {"mimeType": "image/png", "data": "aW1n"}},
        ),
        (
            {"type": "input_image", "image_url": "https://x.example/a.JPG?w=1"},
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.example/a.JPG?w=1"}},
        ),
        (
            {"type": "input_image", "image_url": "https://x.example/a"},
            {"fileData": {"fileUri": "https://x.example/a"}},
        ),
        (
            {"type": "input_file", "file_data": f"data:application/pdf;base64,{PDF}"},
            {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
        ),
        ({"type": "input_file", "file_data": PDF}, {"inlineData": {"mimeType": "application/pdf", "data": PDF}}),
        (
            {"type": "input_file", "file_url": "https://x.example/a.pdf"},
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.example/a.pdf"}},
        ),
        ({"type": "input_file", "file_data": NOTE}, {"inlineData": {"mimeType": "text/plain", "data": NOTE}}),
        (
            {"type": "input_file", "file_data": NOTE, "filename": "notes.md"},
            {"inlineData": {"mimeType": "text/plain", "data": NOTE}},
        ),
        (
            {"type": "input_file", "file_data": "data:application/json,%7B%7D"},
            {"inlineData": {"mimeType": "text/plain", "data": "e30="}},
        ),
        (
            {"type": "input_file", "file_data": f"data:application/octet-stream;base64,{PDF}"},
            {"inlineData": {"mimeType": "application/pdf", "data": PDF}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "c25k", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "c25k"}},
        ),
    ],
)
async def test_images_files_and_sound_are_parts(http: httpx.AsyncClient, part: JsonObject, sent: JsonObject) -> None:
    contents = await contents_of(http, [user([{"type": "input_text", "text": "see"}, part])])
    assert contents == [{"role": "user", "parts": [{"text": "see"}, sent]}]


TOOL_MEDIA = [
    {"type": "input_text", "text": "a map"},
    {"type": "input_image", "image_url": "data:image/png;base64,aW1n"},
    {"type": "input_file", "file_url": "https://x.example/a.pdf"},
]


async def test_media_of_a_tool_are_inside_its_answer_on_gemini_3_where_they_may(http: httpx.AsyncClient) -> None:
    turns = await contents_of(http, [user("q"), made_call("a"), output_of("a", TOOL_MEDIA)])
    answer = turns[2]["parts"][0]["functionResponse"]
    assert answer["response"] == {"output": "a map"}
    assert answer["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "aW1n"}}]
    assert turns[2]["parts"][1:] == [
        {"text": "Returned by get_weather:"},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "https://x.example/a.pdf"}},
    ]


async def test_media_of_a_tool_are_behind_all_answers_on_older_models(http: httpx.AsyncClient) -> None:
    items = [user("q"), made_call("a"), made_call("b", name="get_time"), output_of("a", TOOL_MEDIA[1:]), output_of("b")]
    turns = await contents_of(http, items, GEMINI_2_5)
    kinds = [next(iter(part)) for part in turns[2]["parts"]]
    assert kinds == ["functionResponse", "functionResponse", "text", "inlineData", "fileData"]
    assert "attached" in turns[2]["parts"][0]["functionResponse"]["response"]["output"]


async def test_the_prefix_of_each_request_is_the_one_before_byte_for_byte(http: httpx.AsyncClient) -> None:
    first = sse(chunk(function_call("get_weather", {"city": "ä"}, thoughtSignature="c2ln"), finish="STOP"))
    settings: JsonObject = {"model": GEMINI_3, "instructions": "Be brief.", "tools": [WEATHER, CLOCK]}
    async with Wire(first, HELLO) as wire:
        adapter = Gemini(wire.provider("gemini"), http, "key")
        items = outputs_of(await sampled(adapter, call([user("hi")], **settings)))
        history = [user("hi"), *items, output_of(items[-1]["call_id"])]
        history += outputs_of(await sampled(adapter, call(history, **settings)))
        await sampled(adapter, call([*history, {"role": "system", "content": "x"}, user("more")], **settings))
    bodies = [request.body for request in wire.requests]
    for earlier, later in pairwise(bodies):
        assert later.startswith(earlier.removesuffix(b"]}"))


# --- tools


async def test_functions_are_declared_with_their_json_schema(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, tools=[WEATHER, CLOCK]))
    assert sent["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "The weather of a city.",
                    "parametersJsonSchema": WEATHER["parameters"],
                },
                {"name": "get_time", "description": ""},
            ]
        }
    ]
    assert "toolConfig" not in sent


NAMED = {"type": "function", "name": "get_time"}


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (NAMED, {"mode": "ANY", "allowedFunctionNames": ["get_time"]}),
        (
            {"type": "allowed_tools", "tools": [NAMED], "mode": "required"},
            {"mode": "ANY", "allowedFunctionNames": ["get_time"]},
        ),
        (
            {"type": "allowed_tools", "tools": [NAMED], "mode": "auto"},
            {"mode": "VALIDATED", "allowedFunctionNames": ["get_time"]},
        ),
        ({"type": "allowed_tools", "tools": [NAMED], "mode": "none"}, {"mode": "NONE"}),
    ],
)
async def test_tool_choice_in_every_form_leaves_the_tools_as_they_are(
    http: httpx.AsyncClient, choice: Any, config: JsonObject
) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, tools=[WEATHER, CLOCK], tool_choice=choice))
    assert sent["toolConfig"] == {"functionCallingConfig": config}
    assert len(sent["tools"][0]["functionDeclarations"]) == 2


@pytest.mark.parametrize(("choice", "mode"), [(None, "VALIDATED"), ("auto", "VALIDATED"), ("required", "ANY")])
async def test_strict_functions_are_validated_by_google(http: httpx.AsyncClient, choice: Any, mode: str) -> None:
    sent = await sent_by(http, call("hi", tools=[{**WEATHER, "strict": True}], tool_choice=choice))
    assert sent["toolConfig"]["functionCallingConfig"]["mode"] == mode


BUILT_IN = [
    {"type": "google_search", "timeRangeFilter": {"startTime": "2026-01-01T00:00:00Z"}},
    {"type": "code_execution"},
    {"type": "url_context"},
    {"type": "google_maps", "enableWidget": True},
]


async def test_built_in_tools_have_googles_names_and_keep_their_settings(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, provider_tools=BUILT_IN))
    assert sent["tools"] == [
        {"googleSearch": {"timeRangeFilter": {"startTime": "2026-01-01T00:00:00Z"}}},
        {"codeExecution": {}},
        {"urlContext": {}},
        {"googleMaps": {"enableWidget": True}},
    ]
    assert "toolConfig" not in sent


async def test_a_choice_of_no_tool_offers_no_built_in_tool(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, provider_tools=BUILT_IN, tool_choice="none"))
    assert "tools" not in sent


@pytest.mark.parametrize(
    ("model", "config"),
    [
        (GEMINI_3, {"functionCallingConfig": {"mode": "VALIDATED"}, "includeServerSideToolInvocations": True}),
        (GEMINI_2_5, None),
    ],
)
async def test_built_in_tools_beside_functions_need_a_word_on_gemini_3(
    http: httpx.AsyncClient, model: str, config: JsonObject | None
) -> None:
    sent = await sent_by(http, call("hi", model=model, tools=[CLOCK], provider_tools=BUILT_IN[:1]))
    assert [next(iter(tool)) for tool in sent["tools"]] == ["googleSearch", "functionDeclarations"]
    assert sent.get("toolConfig") == config


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"const": True}, {"type": "boolean", "description": "(always true)"}),
        ({"const": None}, {"type": "null"}),
        ({"enum": ["a", None], "type": "string"}, {"type": ["string", "null"], "enum": ["a"]}),
        ({"enum": [1, 2]}, {"type": "integer", "enum": [1, 2]}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": ["integer", "null"]}, {"type": ["integer", "null"]}),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "string", "format": "uri"}, {"type": "string", "description": "(format: uri)"}),
        (
            {"type": "integer", "exclusiveMinimum": 0, "maximum": 9, "description": "A count"},
            {"type": "integer", "maximum": 9, "description": "A count (exclusiveMinimum: 0)"},
        ),
        ({"type": "string", "$schema": "x", "title": "T", "examples": ["x"]}, {"type": "string"}),
        ({"type": "object", "additionalProperties": False}, {"type": "object", "additionalProperties": False}),
        ({"additionalProperties": {"const": 1}}, {"additionalProperties": {"type": "integer", "enum": [1]}}),
        ({"items": [{"type": "string"}, True]}, {"prefixItems": [{"type": "string"}, {}]}),
        (
            {"properties": {"title": {"type": "string"}}, "required": ["title", "gone"]},
            {"properties": {"title": {"type": "string"}}, "required": ["title"]},
        ),
        (
            {"allOf": [{"$ref": "#/$defs/A"}, {"required": ["b"], "properties": {"b": {"type": "string"}}}]}
            | {"$defs": {"A": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}},
            {
                "type": "object",
                "properties": {"b": {"type": "string"}, "a": {"type": "string"}},
                "required": ["a", "b"],
            },
        ),
        (
            {"properties": {"n": {"$ref": "#/definitions/N", "description": "Root"}}}
            | {"definitions": {"N": {"properties": {"kids": {"type": "array", "items": {"$ref": "#/definitions/N"}}}}}},
            {
                "properties": {"n": {"anyOf": [{"$ref": "#/$defs/N"}], "description": "Root"}},
                "$defs": {"N": {"properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/N"}}}}},
            },
        ),
        (
            {"properties": {"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}, "c": {"$ref": "http://x"}}},
            {"properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {}}},
        ),
    ],
)
def test_json_schema_is_put_in_geminis_dialect(given: JsonObject, taken: JsonObject) -> None:
    before = json.dumps(given)
    translated = gemini_schema(given)
    assert {**translated, "required": sorted(translated.get("required", []))} == {"required": [], **taken}
    assert json.dumps(given) == before


def test_a_schema_that_refers_to_its_own_root_has_an_end() -> None:
    deep: Any = gemini_schema({"type": "object", "properties": {"next": {"$ref": "#"}}})
    depth = 0
    while deep.get("properties"):
        deep, depth = deep["properties"]["next"], depth + 1
    assert 1 < depth < 10


# --- the form of the answer


SCHEMA_FORMAT = {
    "format": {
        "type": "json_schema",
        "name": "point",
        "description": "A place",
        "schema": {"type": "object", "properties": {"kind": {"const": "p"}}, "required": ["kind"]},
    }
}
NATIVE = {
    "type": "object",
    "properties": {"kind": {"type": "string", "enum": ["p"]}},
    "required": ["kind"],
    "description": "A place",
}


@pytest.mark.parametrize(("model", "tools"), [(GEMINI_2_5, []), (GEMINI_3, []), (GEMINI_3, [CLOCK])])
async def test_a_schema_for_the_answer_is_native(http: httpx.AsyncClient, model: str, tools: list[JsonObject]) -> None:
    sent = await sent_by(http, call("hi", model=model, tools=tools, text=SCHEMA_FORMAT))
    assert sent["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": NATIVE}
    assert "systemInstruction" not in sent


async def test_a_json_object_is_asked_for_by_its_type_alone(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_2_5, text={"format": {"type": "json_object"}}))
    assert sent["generationConfig"] == {"responseMimeType": "application/json"}


async def test_beside_tools_the_form_is_said_in_words_before_gemini_3(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_2_5, tools=[CLOCK], text=SCHEMA_FORMAT))
    assert "generationConfig" not in sent
    assert '"const": "p"' in sent["systemInstruction"]["parts"][-1]["text"]


async def test_a_forced_call_has_no_form_of_text_beside_it(http: httpx.AsyncClient) -> None:
    sent = await sent_by(http, call("hi", model=GEMINI_3, tools=[CLOCK], tool_choice="required", text=SCHEMA_FORMAT))
    assert "generationConfig" not in sent
    assert "systemInstruction" not in sent


@pytest.mark.parametrize(
    ("model", "effort", "thinking"),
    [
        (GEMINI_3, "none", {"thinkingLevel": "minimal"}),
        (GEMINI_3, "minimal", {"thinkingLevel": "minimal"}),
        (GEMINI_3, "medium", {"thinkingLevel": "medium"}),
        (GEMINI_3, "max", {"thinkingLevel": "high"}),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "low"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "high"}),
        ("gemini-3.1-pro-preview", "medium", {"thinkingLevel": "medium"}),
        ("gemini-3.5-flash-lite", "minimal", {"thinkingLevel": "minimal"}),
        ("gemini-3.7-flash", "minimal", {"thinkingLevel": "low"}),
        ("gemini-flash-latest", "none", {"thinkingLevel": "low"}),
        (GEMINI_2_5, "none", {"thinkingBudget": 0}),
        (GEMINI_2_5, "low", {"thinkingBudget": 1024}),
        (GEMINI_2_5, "high", {"thinkingBudget": 24_576}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ("gemini-2.5-pro", "max", {"thinkingBudget": 32_768}),
    ],
)
async def test_an_effort_is_a_level_or_a_budget(
    http: httpx.AsyncClient, model: str, effort: str, thinking: JsonObject
) -> None:
    sent = await sent_by(http, call("hi", model=model, reasoning={"effort": effort}))
    assert sent["generationConfig"]["thinkingConfig"] == thinking


async def test_thoughts_are_shown_where_a_summary_is_asked_for_and_there_are_any(http: httpx.AsyncClient) -> None:
    shown = await sent_by(http, call("hi", model=GEMINI_2_5, reasoning={"summary": "auto"}))
    assert shown["generationConfig"]["thinkingConfig"] == {"includeThoughts": True}
    silent = await sent_by(http, call("hi", model=GEMINI_2_5, reasoning={"summary": "auto", "effort": "none"}))
    assert silent["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 0}


async def test_an_answer_is_continued_only_where_the_configuration_says_so(http: httpx.AsyncClient) -> None:
    asked = call("hi", model=GEMINI_2_5, prefix="Once upon")
    async with Wire(HELLO) as wire:
        assert Gemini(wire.provider("gemini"), http, "key").resume_of(asked) == "none"
        adapter = Gemini(wire.provider("gemini", resume="prefill"), http, "key")
        assert adapter.resume_of(asked) == "prefill"
        await sampled(adapter, asked)
    assert wire.requests[0].json["contents"][-1] == {"role": "model", "parts": [{"text": "Once upon"}]}


# --- failures


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
