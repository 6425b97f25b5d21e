"""The answers of Anthropic's Messages API as deltas, over a real socket, also after a crash.

z.ai's usage, told at the end alone: zai-org/GLM-5 issue 139.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.anthropic import Anthropic
from open_responses.deltas import (
    Delta,
    Finish,
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
from tests.support.anthropic_events import (
    HELLO,
    KEY,
    OPUS_4_6,
    OPUS_5_5,
    RICH,
    SCHEMA,
    SEARCHED,
    SONNET_4_5,
    TREE,
    WEATHER,
    answered,
    assistant,
    bare,
    block,
    end,
    said,
    start,
    stream,
    text,
    thinking,
    tool,
    wants,
)
from tests.support.provider_wire import Answer, Wire, call, finish_of, sampled, text_of

# --- the answer


async def test_text_comes_as_it_is_streamed(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, HELLO)
    assert deltas == [
        TextDelta("Hel"),
        TextDelta("lo"),
        Finish("stop", Usage(input_tokens=12, output_tokens=7), "claude-sonnet-4-5-20250929"),
    ]


async def test_everything_in_one_answer(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, RICH)
    seals = [json.loads(unsealed(delta)) for delta in deltas if isinstance(delta, ReasoningSeal)]
    assert seals == [
        {"type": "thinking", "thinking": "Möwen fliegen. ", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZHVua2Vs"},
    ]
    assert [delta for delta in deltas if not isinstance(delta, ReasoningSeal)] == [
        ReasoningSummaryDelta("Möw"),
        ReasoningSummaryDelta("en fliegen. "),
        TextDelta("Schön, "),
        TextDelta("日本 🎈"),
        ToolCallDelta(0, call_id="toolu_1", name="weather"),
        ToolCallDelta(0, '{"ci'),
        ToolCallDelta(0, 'ty": "Zü'),
        ToolCallDelta(0, 'rich"}'),
        ToolCallDelta(1, call_id="toolu_2", name="weather"),
        ToolCallDelta(1, "{}"),
        Finish(
            "tool_calls",
            Usage(input_tokens=19, output_tokens=7, cached_tokens=3, cache_write_tokens=4, reasoning_tokens=5),
            "claude-sonnet-4-5-20250929",
        ),
    ]


def unsealed(delta: ReasoningSeal) -> str:
    return sealed_reasoning.content_for("anthropic", delta.data) or ""


@pytest.mark.parametrize("cut", [1, 7, 1000])
async def test_a_stream_cut_anywhere_is_the_same_stream(http: httpx.AsyncClient, cut: int) -> None:
    pieces = Answer(RICH.body, content_type=RICH.content_type, cut=cut)
    assert await answered(http, pieces) == await answered(http, RICH)


async def test_a_server_that_does_not_stream_is_read_as_well(http: httpx.AsyncClient) -> None:
    message: dict[str, Any] = {
        "type": "message",
        "model": "glm-4.6",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            said("Hello"),
            {"type": "tool_use", "id": "c", "name": "weather", "input": {"city": "Bern"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 5, "output_tokens": 6},
    }
    deltas = await answered(http, Answer(json.dumps(message).encode()), call(model="glm-4.6"))
    assert deltas[0] == ReasoningDelta("hm")
    assert deltas[2:] == [
        TextDelta("Hello"),
        ToolCallDelta(0, call_id="c", name="weather"),
        ToolCallDelta(0, '{"city": "Bern"}'),
        Finish("tool_calls", Usage(input_tokens=5, output_tokens=6), "glm-4.6"),
    ]


@pytest.mark.parametrize(
    ("reason", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause"),
        ("something_new", "stop"),
    ],
)
async def test_every_stop_reason_has_its_meaning(http: httpx.AsyncClient, reason: str, ours: str) -> None:
    assert finish_of(await answered(http, stream(start(), *end(reason)))).reason == ours


async def test_a_refusal_says_why(http: httpx.AsyncClient) -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "This could do harm."}
    deltas = await answered(http, stream(start(), *text(0, "Well"), *end("refusal", details)))
    assert deltas[:2] == [TextDelta("Well"), RefusalDelta("This could do harm.")]


async def test_calls_may_interleave(http: httpx.AsyncClient) -> None:
    one, two = tool(0, "a", '{"x"', ":1}"), tool(1, "b", "{}")
    deltas = await answered(http, stream(start(), one[0], one[1], *two, *one[2:], *end("tool_use")))
    assembled: dict[int, str] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            assembled[delta.index] = assembled.get(delta.index, "") + delta.arguments
    assert assembled == {0: '{"x":1}', 1: "{}"}


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("claude-3-7-sonnet-20250219", ReasoningDelta),
        ("glm-4.6", ReasoningDelta),
        (SONNET_4_5, ReasoningSummaryDelta),
        (OPUS_5_5, ReasoningSummaryDelta),
    ],
)
async def test_thinking_is_a_summary_on_claude_from_4_on_and_raw_elsewhere(
    http: httpx.AsyncClient, model: str, kind: type[Delta]
) -> None:
    deltas = await answered(http, stream(start(), *thinking(0, "hm"), *end()), call(model=model))
    assert isinstance(deltas[0], kind)


async def test_thinking_that_is_not_shown_is_kept_by_its_signature(http: httpx.AsyncClient) -> None:
    seal, _ = await answered(http, stream(start(), *thinking(0), *end()))
    assert isinstance(seal, ReasoningSeal)
    assert json.loads(unsealed(seal)) == {"type": "thinking", "thinking": "", "signature": "c2ln"}


async def test_usage_told_at_the_end_alone_counts(http: httpx.AsyncClient) -> None:
    """z.ai's way; the other way round, zeros at the end take nothing back."""
    late = stream(start(input_tokens=0, output_tokens=0), *end(input_tokens=14, cache_read_input_tokens=2))
    early = stream(start(), *end(input_tokens=0))
    for answer, total in ((late, Usage(16, 7, cached_tokens=2)), (early, Usage(12, 7))):
        assert finish_of(await answered(http, answer)).usage == total


async def test_a_stream_without_usage_is_counted(http: httpx.AsyncClient) -> None:
    events = [start(), *text(0, "one two three four"), *end()]
    del events[0]["message"]["usage"]
    del events[-2]["usage"]
    usage = finish_of(await answered(http, stream(*events))).usage
    assert usage.estimated
    assert usage.output_tokens >= 4
    assert usage.input_tokens > 0


async def test_what_nobody_knows_is_passed_over(http: httpx.AsyncClient) -> None:
    strange = [
        {"type": "new_event", "x": 1},
        *block(0, {"type": "new_block", "id": "n"}, {"type": "new_delta"}),
        {"type": "content_block_delta", "index": 9, "delta": {"type": "new_delta", "text": "orphan"}},
    ]
    deltas = await answered(http, stream(start(), *strange, *text(1, "hi"), *end()))
    assert deltas[:-1] == [TextDelta("hi")]


# --- going on after a crash


@pytest.mark.parametrize(
    ("request_", "how"),
    [
        ({"model": SONNET_4_5}, "prefill"),
        ({"model": "claude-opus-4-5", "reasoning": {"effort": "none"}}, "prefill"),
        ({"model": SONNET_4_5, "tools": [WEATHER]}, "prefill"),
        ({"model": SONNET_4_5, "text": {"format": {"type": "json_object"}}}, "prefill"),
        ({"model": SONNET_4_5, "text": wants(TREE)}, "prefill"),
        ({"model": SONNET_4_5, "text": wants(SCHEMA)}, "none"),
        ({"model": SONNET_4_5, "reasoning": {"effort": "low"}}, "none"),
        ({"model": SONNET_4_5, "tools": [WEATHER], "tool_choice": "required"}, "none"),
        ({"model": OPUS_4_6}, "none"),
        ({"model": "claude-sonnet-4-6"}, "none"),
        ({"model": OPUS_5_5}, "none"),
        ({"model": "glm-4.6"}, "none"),
    ],
)
async def test_an_answer_goes_on_by_prefill_where_nothing_stands_against_it(
    http: httpx.AsyncClient, request_: dict[str, Any], how: str
) -> None:
    wire = Wire()
    assert Anthropic(wire.provider("anthropic"), http, KEY).resume_of(call(**request_)) == how
    configured = Anthropic(wire.provider("anthropic", resume="prefill"), http, KEY)
    assert configured.resume_of(call(**request_)) == "prefill"


@pytest.mark.parametrize(
    ("prefix", "pieces", "whole"),
    [
        ("Gulls ", [" fly"], "Gulls fly"),
        ("Gulls ", ["fly"], "Gulls fly"),
        ("Gulls", [" fly"], "Gulls fly"),
        ("Gulls\n\n", ["\n", "\n", "fly"], "Gulls\n\nfly"),
        ("Gulls ", ["\nfly"], "Gulls \nfly"),
        (" \n", ["\nfly"], " \n\nfly"),
    ],
)
async def test_prefix_and_continuation_neither_repeat_nor_lose(
    http: httpx.AsyncClient, prefix: str, pieces: list[str], whole: str
) -> None:
    async with Wire(stream(start(), *text(0, *pieces), *end())) as wire:
        asked_ = call("q", model=SONNET_4_5, prefix=prefix)
        deltas = await sampled(Anthropic(wire.provider("anthropic"), http, KEY), asked_)
    assert prefix + text_of(deltas) == whole
    sent = bare(wire.requests[0].json)["messages"]
    assert sent[1:] == ([assistant(said(prefix.rstrip()))] if prefix.strip() else [])


async def test_citations_in_a_continuation_point_into_the_whole_text(http: httpx.AsyncClient) -> None:
    asked_ = call("q", model=SONNET_4_5, prefix="So: ")
    deltas = await answered(http, stream(start(), *SEARCHED[12:16], *end()), asked_)
    (cited,) = [delta.annotation for delta in deltas if isinstance(delta, TextAnnotation)]
    assert (cited["start_index"], cited["end_index"]) == (4, 12)
