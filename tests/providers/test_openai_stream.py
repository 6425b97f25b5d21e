"""The answers of OpenAI's Responses API as deltas, over a real socket."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from open_responses.deltas import (
    Delta,
    Finish,
    ItemEnd,
    ProviderItem,
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.models import sealed_reasoning
from tests.support.openai_events import (
    COUNTED,
    FULL,
    USAGE,
    added,
    at,
    called,
    created,
    done,
    function,
    heard,
    message,
    part,
    reasoned,
    response,
    spoken,
    stream,
)
from tests.support.provider_wire import Answer, call, sse


def kinds(deltas: list[Delta]) -> list[str]:
    return [type(delta).__name__ for delta in deltas]


async def test_text_comes_as_it_is_spoken_and_once(http: httpx.AsyncClient) -> None:
    assert await heard(http, stream(*spoken(0, "Grüß ", "dich, 世界 🎈"))) == [
        TextDelta("Grüß "),
        TextDelta("dich, 世界 🎈"),
        ItemEnd(),
        Finish("stop", COUNTED, "gpt-5-2025-08-07"),
    ]


async def test_a_stream_cut_at_every_byte_says_the_same(http: httpx.AsyncClient) -> None:
    whole = await heard(http, FULL)
    assert await heard(http, replace(FULL, cut=1)) == whole
    assert kinds(whole) == [
        *["ReasoningSummaryDelta"] * 4,
        "ReasoningSeal",
        *["TextDelta"] * 2,
        "ItemEnd",
        *["ToolCallDelta"] * 3,
        "ProviderItem",
        "Finish",
    ]


async def test_phases_and_message_boundaries_are_kept(http: httpx.AsyncClient) -> None:
    events = [*spoken(0, "I look.", phase="commentary"), *spoken(1, "Done.", phase="final_answer")]
    assert (await heard(http, stream(*events)))[:-1] == [
        TextDelta("I look.", phase="commentary"),
        ItemEnd(),
        TextDelta("Done.", phase="final_answer"),
        ItemEnd(),
    ]


async def test_two_texts_of_one_message_stay_apart(http: httpx.AsyncClient) -> None:
    events = [
        at("output_text.delta", 0, content_index=0, delta="First."),
        at("output_text.delta", 0, content_index=1, delta="Sec"),
        at("output_text.delta", 0, content_index=1, delta="ond."),
        done(0, message(part("First."), part("Second."))),
    ]
    expected = [TextDelta("First."), ItemEnd(), TextDelta("Sec"), TextDelta("ond."), ItemEnd()]
    assert (await heard(http, stream(*events)))[:-1] == expected


@pytest.mark.parametrize("content", [[], [part("")]])
async def test_an_empty_answer_is_an_answer(http: httpx.AsyncClient, content: list[Any]) -> None:
    assert (await heard(http, stream(done(0, message(*content)))))[:-1] == [TextDelta(""), ItemEnd()]


async def test_a_refusal_is_no_text(http: httpx.AsyncClient) -> None:
    events = [
        at("refusal.delta", 0, content_index=0, delta="I can"),
        at("refusal.delta", 0, content_index=0, delta="not."),
        at("refusal.done", 0, content_index=0, refusal="I cannot."),
        done(0, message({"type": "refusal", "refusal": "I cannot."})),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [RefusalDelta("I can"), RefusalDelta("not."), ItemEnd()]


async def test_annotations_come_once_each(http: httpx.AsyncClient) -> None:
    first, second = (
        {"type": "url_citation", "url": f"https://a.test/{n}", "title": "A", "start_index": n, "end_index": 4}
        for n in (0, 1)
    )
    place = {"content_index": 0}
    events = [
        at("output_text.delta", 0, **place, delta="Text"),
        at("output_text.annotation.added", 0, **place, annotation_index=0, annotation=first),
        at("content_part.done", 0, **place, part=part("Text", [first])),
        done(0, message(part("Text", [first, second]))),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [
        TextDelta("Text"),
        TextAnnotation(first),
        TextAnnotation(second),
        ItemEnd(),
    ]


async def test_logprobs_have_the_specifications_shape(http: httpx.AsyncClient) -> None:
    top = {"token": "Hé", "logprob": -0.1}
    logprob = {**top, "top_logprobs": [top, {"token": "Ho", "logprob": -2.5, "bytes": [72, 111]}]}
    deltas = await heard(http, stream(at("output_text.delta", 0, content_index=0, delta="Hé", logprobs=[logprob])))
    full = {**top, "bytes": [72, 195, 169]}
    tops = [full, {"token": "Ho", "logprob": -2.5, "bytes": [72, 111]}]
    assert deltas[0] == TextDelta("Hé", [{**full, "top_logprobs": tops}])


async def test_parallel_calls_may_interleave(http: httpx.AsyncClient) -> None:
    events = [
        added(0, function("", name="a", call_id="call_a")),
        added(1, function("", name="b", call_id="call_b")),
        at("function_call_arguments.delta", 1, delta='{"x":'),
        at("function_call_arguments.delta", 0, delta="{}"),
        at("function_call_arguments.delta", 1, delta="1}"),
        at("function_call_arguments.done", 0, arguments="{}"),
        at("function_call_arguments.done", 1, arguments='{"x":1}'),
        done(0, function("{}", name="a", call_id="call_a")),
        done(1, function('{"x":1}', name="b", call_id="call_b")),
    ]
    assert await heard(http, stream(*events)) == [
        ToolCallDelta(0, "", "call_a", "a"),
        ToolCallDelta(1, "", "call_b", "b"),
        ToolCallDelta(1, '{"x":'),
        ToolCallDelta(0, "{}"),
        ToolCallDelta(1, "1}"),
        Finish("tool_calls", COUNTED, "gpt-5-2025-08-07"),
    ]


@pytest.mark.parametrize(
    "events",
    [
        called(4, '{"a":1}'),
        [added(4, function("")), at("function_call_arguments.done", 4, arguments='{"a":1}'), done(4, function(""))],
        [added(4, function("")), done(4, function('{"a":1}'))],
        [added(4, function('{"a":')), at("function_call_arguments.delta", 4, delta="1}"), done(4, function('{"a":1}'))],
        [added(4, function("")), at("function_call_arguments.delta", 4, delta='{"a'), done(4, function('{"a":1}'))],
        [done(4, function('{"a":1}'))],
    ],
)
async def test_arguments_are_heard_once_wherever_they_stand(
    http: httpx.AsyncClient, events: list[dict[str, Any]]
) -> None:
    deltas = await heard(http, stream(*events))
    calls = [delta for delta in deltas if isinstance(delta, ToolCallDelta)]
    assert "".join(delta.arguments for delta in calls) == '{"a":1}'
    assert (calls[0].index, calls[0].call_id, calls[0].name) == (4, "call_up", "weather")


async def test_a_call_without_arguments_is_a_call(http: httpx.AsyncClient) -> None:
    deltas = await heard(http, stream(*called(0)))
    assert deltas == [ToolCallDelta(0, "", "call_up", "weather"), Finish("tool_calls", COUNTED, "gpt-5-2025-08-07")]


async def test_a_reasonings_summary_has_parts_and_its_seal_is_the_last_word(http: httpx.AsyncClient) -> None:
    deltas = await heard(http, stream(*reasoned(0, "First.", "Then."), *spoken(1, "Yes.")))
    assert deltas[:4] == [
        ReasoningSummaryDelta("Firs"),
        ReasoningSummaryDelta("t."),
        ReasoningSummaryDelta("Then", 1),
        ReasoningSummaryDelta(".", 1),
    ]
    seal = deltas[4]
    assert isinstance(seal, ReasoningSeal)
    assert json.loads(sealed_reasoning.content_for("openai", seal.data) or "") == {
        "id": "rs_up",
        "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
        "encrypted_content": "gAAAA-all",
    }


async def test_reasoning_without_a_seal_ends(http: httpx.AsyncClient) -> None:
    deltas = await heard(http, stream(*reasoned(0, "First.", encrypted=None), *spoken(1, "Yes.")))
    assert kinds(deltas[:3]) == ["ReasoningSummaryDelta", "ReasoningSummaryDelta", "ItemEnd"]


@pytest.mark.parametrize("name", ["reasoning_text", "reasoning"])
async def test_raw_reasoning_is_heard_under_both_of_its_names(http: httpx.AsyncClient, name: str) -> None:
    events = [
        at(f"{name}.delta", 0, content_index=0, delta="Hm"),
        at(f"{name}.done", 0, content_index=0, text="Hmm."),
        *spoken(1, "Yes."),
    ]
    assert (await heard(http, stream(*events)))[:2] == [ReasoningDelta("Hm"), ReasoningDelta("m.")]


async def test_the_progress_of_a_built_in_tool_precedes_its_whole_item(http: httpx.AsyncClient) -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_up",
        "status": "completed",
        "action": {"type": "search", "query": "news"},
    }
    events = [
        added(0, {"type": "web_search_call", "id": "ws_up", "status": "in_progress"}),
        at("web_search_call.in_progress", 0),
        at("web_search_call.searching", 0),
        at("web_search_call.completed", 0),
        done(0, search),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [
        ProviderItemStart(0, {"type": "web_search_call", "id": "ws_up", "status": "in_progress"}),
        ProviderItemProgress(0, "response.web_search_call.in_progress"),
        ProviderItemProgress(0, "response.web_search_call.searching"),
        ProviderItemProgress(0, "response.web_search_call.completed"),
        ProviderItem(search, 0),
    ]


async def test_a_built_in_tool_without_progress_is_one_item(http: httpx.AsyncClient) -> None:
    search = {"type": "web_search_call", "id": "ws_up", "status": "completed"}
    assert (await heard(http, stream(done(0, search))))[:-1] == [ProviderItem(search)]


async def test_the_code_of_the_code_interpreter_arrives_in_pieces_and_whole_where_none_were_sent(
    http: httpx.AsyncClient,
) -> None:
    ran = {"type": "code_interpreter_call", "id": "ci_up", "status": "completed", "code": "x = 1", "container_id": "c"}
    begun = {**ran, "status": "in_progress", "code": "", "outputs": []}
    events = [
        added(0, begun),
        at("code_interpreter_call.in_progress", 0),
        at("code_interpreter_call_code.delta", 0, delta="x ", obfuscation="abc"),
        at("code_interpreter_call_code.done", 0, code="x = 1"),
        at("code_interpreter_call.interpreting", 0),
        at("code_interpreter_call.completed", 0),
        done(0, ran),
    ]
    code = "response.code_interpreter_call_code"
    assert (await heard(http, stream(*events)))[:-1] == [
        ProviderItemStart(0, begun),
        ProviderItemProgress(0, "response.code_interpreter_call.in_progress"),
        ProviderItemProgress(0, f"{code}.delta", {"delta": "x "}),
        ProviderItemProgress(0, f"{code}.delta", {"delta": "= 1"}),
        ProviderItemProgress(0, f"{code}.done"),
        ProviderItemProgress(0, "response.code_interpreter_call.interpreting"),
        ProviderItemProgress(0, "response.code_interpreter_call.completed"),
        ProviderItem(ran, 0),
    ]


async def test_partial_images_keep_what_describes_them(http: httpx.AsyncClient) -> None:
    image = {"type": "image_generation_call", "id": "ig_up", "status": "completed", "result": "AAAA"}
    part = {"partial_image_index": 0, "partial_image_b64": "AA==", "size": "1024x1024", "output_format": "png"}
    part |= {"quality": "low", "background": "opaque"}
    events = [
        at("image_generation_call.generating", 0),
        at("image_generation_call.partial_image", 0, **part),
        done(0, image),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [
        ProviderItemStart(0, {"type": "image_generation_call"}),
        ProviderItemProgress(0, "response.image_generation_call.generating"),
        ProviderItemProgress(0, "response.image_generation_call.partial_image", part),
        ProviderItem(image, 0),
    ]


async def test_events_and_items_that_nobody_knows_are_passed_over(http: httpx.AsyncClient) -> None:
    events = [
        {"type": "keepalive", "sequence_number": 3},
        {"type": "response.safety_buffering", "why": None},
        added(0, {"type": "hologram"}),
        done(0, {"type": "hologram"}),
        *spoken(1, "Yes."),
    ]
    assert (await heard(http, stream(*events)))[:-1] == [TextDelta("Yes."), ItemEnd()]


@pytest.mark.parametrize(
    ("reason", "expected"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), (None, "length")]
)
async def test_an_answer_that_breaks_off_says_why_and_stays_open(
    http: httpx.AsyncClient, reason: str | None, expected: str
) -> None:
    ending = response("incomplete", incomplete_details={"reason": reason}, usage=USAGE)
    events = [
        at("output_text.delta", 0, content_index=0, delta="Half"),
        done(0, message(part("Half"), status="incomplete")),
        {"type": "response.incomplete", "response": ending},
    ]
    deltas = await heard(http, sse(*created(), *events, named=True))
    assert deltas == [TextDelta("Half"), Finish(expected, COUNTED, "gpt-5-2025-08-07")]  # type: ignore[arg-type]


async def test_reasoning_that_broke_off_has_no_seal(http: httpx.AsyncClient) -> None:
    item = {"type": "reasoning", "id": "rs_up", "summary": [], "encrypted_content": "gAA", "status": "incomplete"}
    ending = response("incomplete", incomplete_details={"reason": "max_output_tokens"})
    deltas = await heard(http, sse(*created(), done(0, item), {"type": "response.incomplete", "response": ending}))
    assert kinds(deltas) == ["Finish"]


async def test_a_stream_without_usage_is_counted_roughly(http: httpx.AsyncClient) -> None:
    ending = {"type": "response.completed", "response": response("completed")}
    deltas = await heard(http, sse(*created(), *spoken(0, "abcd", "efgh", "i"), ending), call("x" * 400))
    assert deltas[-1] == Finish("stop", Usage(100, 3, estimated=True), "gpt-5-2025-08-07")


async def test_a_server_that_does_not_stream_is_heard_too(http: httpx.AsyncClient) -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        message(part("Yes.")),
        function("{}"),
    ]
    whole = response("completed", output=output, usage=USAGE)
    assert await heard(http, Answer(json.dumps(whole).encode())) == [
        ReasoningSummaryDelta("Hm."),
        ItemEnd(),
        TextDelta("Yes."),
        ItemEnd(),
        ToolCallDelta(2, "{}", "call_up", "weather"),
        Finish("tool_calls", COUNTED, "gpt-5-2025-08-07"),
    ]


@pytest.mark.parametrize("end", [{"breaks": True}, {"stalls": True}])
async def test_nothing_is_asked_of_the_connection_after_the_last_event(
    http: httpx.AsyncClient, end: dict[str, bool]
) -> None:
    deltas = await heard(http, replace(stream(*spoken(0, "Yes.")), **end), timeout_seconds=0.2)
    assert deltas[-1] == Finish("stop", COUNTED, "gpt-5-2025-08-07")
