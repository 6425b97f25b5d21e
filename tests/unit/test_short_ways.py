"""Nearly all deltas are a piece of text, and take a short way through each part. It gives what the long one gives."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from activities.providers.openai_chat import stream as chat_stream
from activities.providers.openai_chat.stream import ChunkReader
from activities.providers.shared import sse
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.keys import Key
from activities.providers.shared.sse import SseDecoder
from activities.sampling.answer_meter import AnswerBounds, AnswerMeter, size_of
from activities.sampling.attempt_progress import AttemptProgress
from open_responses.config import ProviderConfig
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    ItemEnd,
    ProviderItem,
    ReasoningDelta,
    ReasoningSeal,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import ProviderStreamBroken
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.json_types import JsonObject
from open_responses.schema.requests import validate_create_response

CITATION = {"type": "url_citation", "url": "https://a.example", "title": "", "start_index": 0, "end_index": 1}
LOGPROBS: list[JsonObject] = [{"token": "a", "logprob": 0.0, "bytes": [97], "top_logprobs": []}]
DELTAS: Sequence[Delta] = (
    *[TextDelta(text) for text in ("one ", "two", "", "ü", "three ")] * 3,
    TextDelta("a", LOGPROBS),
    TextDelta("said", phase="commentary"),
    TextDelta("said", phase="final_answer"),
    ReasoningDelta("because "),
    ReasoningSeal("sealed"),
    RefusalDelta("no"),
    ItemEnd(),
    TextAnnotation(CITATION),
    ToolCallDelta(0, "{}", "call_1", "look"),
    ToolCallDelta(0, " "),
    ProviderItem({"type": "web_search_call", "action": {"type": "search", "query": "x"}}),
)


@pytest.mark.parametrize("seed", range(30))
def test_text_gives_the_same_events_by_both_ways(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = random.Random(seed).choices(DELTAS, k=40)

    def events() -> tuple[list[JsonObject], list[JsonObject]]:
        assembler = Assembler(Fold(), response_id="resp_1")
        found = [event for delta in (*given, Finish("stop", Usage())) for event in assembler.feed(delta)]
        open_ones = assembler.fold.snapshot()
        return [*found, *assembler.close("completed")], [*open_ones, *assembler.fold.output]

    short = events()
    monkeypatch.setattr(Assembler, "_more_text", lambda *_: None)
    assert short == events()


def chunk(delta: JsonObject, **members: Any) -> tuple[str, JsonObject]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    beside = members.pop("choice", {})
    return "message", {"id": "c", "model": "m", "choices": [{**choice, **beside}], **members}


CHUNKS = (
    *[chunk({"content": text}) for text in ("one ", "two[1]", "", "ü")] * 4,
    chunk({"role": "assistant", "content": "x"}),
    chunk({"role": "assistant", "content": None}),
    chunk({"content": 7}),
    chunk({"content": [{"type": "text", "text": "part"}]}),
    chunk({"reasoning_content": "because"}),
    chunk({"content": "with", "reasoning_content": "both"}),
    chunk({"content": "cited"}, citations=["https://a.example", "https://b.example"]),
    chunk({"content": "counted"}, usage={"prompt_tokens": 3, "completion_tokens": 4}),
    chunk({"content": "other"}, choice={"index": 1}),
    chunk({"content": "scored"}, choice={"logprobs": {"content": [{"token": "a", "logprob": -1.0}]}}),
    chunk({}, choice={"message": {"role": "assistant", "content": "one two[1]"}}),
    chunk({"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": "{}"}}]}),
    chunk({"refusal": "no"}),
    ("message", {"choices": []}),
    ("message", {"choices": ["odd"]}),
    ("note", {"choices": [{"index": 0, "delta": {"content": "named"}}]}),
)


@pytest.mark.parametrize("seed", range(40))
def test_a_chunk_of_text_gives_the_same_deltas_by_both_ways(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = random.Random(seed).choices(CHUNKS, k=30)
    call = SampleCall("m", [], validate_create_response({"model": "m", "input": "x"}))
    failures = Failures(ProviderConfig(name="p", adapter="openai-chat", base_url="http://p"), Key(None, is_own=False))

    def deltas() -> list[Delta]:
        reader = ChunkReader(call, failures)
        found = [delta for one in given for delta in reader.read(one)]
        last = chunk({}, choice={"finish_reason": "stop"})
        return [*found, *reader.read(last), *reader.finish()]

    short = deltas()
    monkeypatch.setattr(chat_stream, "_plain_text", lambda _: None)
    assert short == deltas()


def test_an_error_is_no_chunk_of_text() -> None:
    call = SampleCall("m", [], validate_create_response({"model": "m", "input": "x"}))
    failures = Failures(ProviderConfig(name="p", adapter="openai-chat", base_url="http://p"), Key(None, is_own=False))
    for name, members in (("message", {"object": "error"}), ("error", {}), ("message", {"error": {"message": "x"}})):
        _, given = chunk({"content": "text"}, **members)
        with pytest.raises(Exception, match="p"):
            ChunkReader(call, failures).read((name, given))


EVENTS = (
    *[b"data: one\n\n", b"data: {}\n\n", b"event: a\ndata: b\n\n"] * 3,
    *(b"data:\n\n", b"data: \n\n", b"data: a\ndata: b\n\n", b"event: \ndata: c\n\n", b"event: only\n\n"),
    *(b": note\n\n", b"\n", b"data: a\r\n\r\n", b"id: 3\ndata: d\n\n", b"data:e\n\n"),
    *(b"data: f", b"\n\n", b"event: g\n"),
)


@pytest.mark.parametrize("seed", range(60))
def test_pieces_of_a_stream_give_the_same_events_by_both_ways(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    pieces = [b"".join(chance.choices(EVENTS, k=chance.randint(1, 4))) for _ in range(12)]

    def events() -> list[tuple[str, bytes]]:
        decoder = SseDecoder()
        return [event for piece in pieces for event in decoder.feed(piece)]

    short = events()
    monkeypatch.setattr(sse, "_whole_events", lambda _: None)
    assert short == events()


def test_text_counts_by_its_bytes_and_in_the_digest_however_it_is_cut() -> None:
    whole, pieces = AttemptProgress(), AttemptProgress()
    meter = AnswerMeter(AnswerBounds())
    texts = ["one ", "", "zwei ü ", "\ud83d", "\ude00"]
    for text in texts:
        pieces.read(TextDelta(text))
        assert meter.count(TextDelta(text)) is None
    whole.read(TextDelta("".join(texts)))
    broken = ProviderStreamBroken("x")
    assert pieces.broke_at(broken, None) == whole.broke_at(broken, None)
    assert meter.size == sum(size_of(TextDelta(text)) for text in texts)
