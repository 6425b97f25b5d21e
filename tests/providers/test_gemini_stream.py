"""The answers of Gemini's API as deltas, over a real socket."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest

from open_responses.deltas import (
    Finish,
    ProviderItem,
    ReasoningSummaryDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import OpenResponsesError, ProviderRejected, ProviderStreamBroken
from open_responses.json_types import JsonObject
from tests.support.gemini_chunks import USAGE, answer_of, chunk, contents_of, function_call, text, user
from tests.support.provider_wire import Answer, finish_of, output_of, outputs_of, sse, text_of


def crlf(answer: Answer) -> Answer:
    """As Google ends its lines."""
    return replace(answer, body=answer.body.replace(b"\n", b"\r\n"))


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
