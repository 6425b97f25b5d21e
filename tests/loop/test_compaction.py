"""Conversations that are summarized on the way (`context_management`), with the summary as an item of the output."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.sampling.summarize import Compacted, compact
from activities.sampling.window import fitted
from open_responses.context.compaction import ORDER, condensed, from_summary, is_due
from open_responses.context.tokens import item_tokens
from open_responses.contracts import SampleCall, SampleContext
from open_responses.deltas import Delta, Finish, FinishReason, TextDelta, Usage
from open_responses.errors import ContextLengthExceeded, ProviderStreamBroken
from open_responses.json_types import JsonObject
from open_responses.schema.items import INPUT_ITEMS, InputItem, UserMessage
from open_responses.schema.requests import CreateResponse
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import HOSTED, script, types
from tests.support.stack import Event, Stack, another_api, check_whole, collect, events_of
from tests.support.streams_with_faults import stream_and

MANAGED: JsonObject = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
LONG = "filler " * 1200
COST = Usage(input_tokens=900, output_tokens=70)


def in_the_answer(event: Event) -> bool:
    return bool(event["type"] == "response.output_text.delta" and event["delta"].startswith("w5"))


def message(role: str, content: str) -> JsonObject:
    return {"type": "message", "role": role, "content": content}


def test_what_is_read_after_a_compaction() -> None:
    given = [
        message("system", "be kind"),
        message("user", "old"),
        message("assistant", "yes"),
        message("user", "the question"),
        {"type": "compaction", "encrypted_content": "first"},
        message("assistant", "more"),
        {"type": "compaction", "encrypted_content": "second"},
        message("assistant", "since"),
    ]
    read = from_summary(INPUT_ITEMS.validate_python(given), lambda sealed: f"<{sealed}>")
    texts = [item.model_dump()["content"] for item in read]
    assert texts[0] == "be kind"
    assert texts[1].endswith("<second>")
    assert texts[2:] == ["the question", "since"]
    went_on = INPUT_ITEMS.validate_python([*given, message("user", "next")])
    assert [item.model_dump()["content"] for item in from_summary(went_on, str)][2:] == ["since", "next"]


def test_a_long_prompt_alone_is_not_summarized_again_and_again() -> None:
    alone = INPUT_ITEMS.validate_python([message("developer", LONG), message("user", LONG)])
    assert not is_due(alone, 1000, item_tokens)
    grown = INPUT_ITEMS.validate_python([message("user", "hi"), message("assistant", LONG), message("user", "and?")])
    assert is_due(grown, 1000, item_tokens)
    assert not is_due(grown, 2000, item_tokens)


def call_of(call_id: str, output: object) -> list[JsonObject]:
    return [
        {"type": "function_call", "call_id": call_id, "name": "look", "arguments": '{"at": "' + call_id + '"}'},
        {"type": "function_call_output", "call_id": call_id, "output": output},
    ]


def agent_run(**settings: Any) -> SampleCall:
    """The usual shape: one prompt, a few calls, a long result."""
    given = [message("user", "find the leak"), *call_of("first", "a clue"), *call_of("second", "begin " + LONG * 3)]
    request = CreateResponse.model_validate({"model": "m", "input": "x", **MANAGED})
    return SampleCall("m", INPUT_ITEMS.validate_python(given), request, **settings)


class Writer:
    """A model that writes notes, and refuses what is longer than its window."""

    def __init__(self, notes: str = "the notes", reason: FinishReason = "stop", window: int = 1_000_000) -> None:
        self.notes, self.reason, self.window = notes, reason, window
        self.asked: list[SampleCall] = []

    async def sample(self, context: SampleContext) -> AsyncGenerator[Delta, None]:
        self.asked.append(context.call)
        if size(context.call.items) > self.window:
            raise ContextLengthExceeded("too long")
        yield TextDelta(self.notes)
        yield Finish(self.reason, COST)

    async def compact(self, call: SampleCall, window: int | None = None, threshold: int = 1000) -> Compacted:
        return await compact(self.sample, SampleContext(call, "resp_1", "acme"), threshold, window)


def size(items: Any) -> int:
    return sum(map(item_tokens, items))


def shown(call: SampleCall) -> str:
    return "".join(str(item) for item in call.items)


@pytest.mark.parametrize("window", [3000, 1500])
async def test_the_notes_are_on_the_whole_loop_though_a_result_alone_is_longer_than_the_window(window: int) -> None:
    model = Writer()
    assert await model.compact(agent_run(), window) == Compacted("the notes", COST)
    (asked,) = model.asked
    assert [item.type for item in asked.items[:-1]] == ["message", *["function_call", "function_call_output"] * 2]
    assert "find the leak" in shown(asked)
    assert "a clue" in shown(asked)
    assert "begin filler" in shown(asked)
    assert "characters were left out" in shown(asked)
    assert asked.items[-1].model_dump()["content"] == ORDER
    assert asked.max_output_tokens is not None
    assert size(asked.items) + asked.max_output_tokens < window


async def test_a_conversation_of_which_nothing_fits_is_not_replaced_by_notes_on_nothing() -> None:
    model = Writer()
    long_rules = replace(agent_run(), items=INPUT_ITEMS.validate_python([message("system", LONG), *chat(9)]))
    assert await model.compact(long_rules, window=1300) == Compacted()
    assert model.asked == []


def chat(turns: int, words: str = LONG) -> list[JsonObject]:
    return [message(role, f"{role}{turn} {words}") for turn in range(turns) for role in ("user", "assistant")]


async def test_a_model_with_a_smaller_window_than_anybody_knows_is_asked_again_with_less() -> None:
    model = Writer(window=2500)
    assert (await model.compact(agent_run())).notes == "the notes"
    whole, less = model.asked
    assert size(whole.items) > 2500 > 1000 >= size(less.items)
    tiny = Writer(window=10)
    assert await tiny.compact(agent_run()) == Compacted()


async def test_notes_that_were_cut_off_say_so_and_notes_without_a_word_are_none() -> None:
    cut_off = await Writer("the first half", "length").compact(agent_run())
    assert cut_off.notes is not None
    assert cut_off.notes.startswith("the first half\n[The notes end here")
    for model in (Writer(" ", "length"), Writer("", "stop"), Writer("I cannot", "content_filter")):
        assert await model.compact(agent_run()) == Compacted(None, COST)


async def test_notes_longer_than_they_may_be_are_cut_so_that_they_cannot_fill_the_window() -> None:
    written = await Writer(LONG * 10).compact(agent_run())
    assert written.notes is not None
    assert "characters were left out" in written.notes
    assert size(INPUT_ITEMS.validate_python([message("developer", written.notes)])) < 700


async def test_the_notes_have_half_of_what_is_left_of_the_budget_or_there_are_none() -> None:
    model = Writer()
    await model.compact(agent_run(max_output_tokens=600))
    assert model.asked[0].max_output_tokens == 300
    assert await model.compact(agent_run(max_output_tokens=200)) == Compacted()
    await model.compact(agent_run(), threshold=3000)
    assert [call.max_output_tokens for call in model.asked] == [300, 1500]


async def test_a_stream_of_notes_that_breaks_is_no_summary() -> None:
    async def breaks(_: SampleContext) -> AsyncGenerator[Delta, None]:
        yield TextDelta("half")

    with pytest.raises(ProviderStreamBroken):
        await compact(breaks, SampleContext(agent_run(), "resp_1", "acme"), 1000, None)


async def test_without_notes_a_conversation_to_be_compacted_is_cut_like_one_to_be_truncated() -> None:
    sent = await fitted(agent_run(), 3000)
    assert size(sent.items) < 3000
    assert "characters were left out" in shown(sent)


def test_thoughts_go_before_words_but_not_those_of_the_last_call() -> None:
    thought = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": LONG}]}
    last = {"type": "reasoning", "summary": [], "encrypted_content": "signed", "content": []}
    run = [message("user", "go"), thought, *call_of("a", "one"), last, *call_of("b", "two")]
    kept = condensed(INPUT_ITEMS.validate_python(run), 200, item_tokens)
    assert kept is not None
    assert [item.model_dump(exclude_unset=True) for item in kept] == [*run[:1], *run[2:]]


_texts = st.integers(0, 3000).map(lambda words: "word " * words)
_rounds = st.lists(st.tuples(_texts, st.sampled_from(["user", "assistant", "call", "image"])), max_size=8)


@given(_rounds, st.integers(50, 4000))
def test_what_is_summarized_fits_and_has_more_than_prompts(rounds: list[tuple[str, str]], room: int) -> None:
    run = [message("user", "begin")]
    for number, (text, kind) in enumerate(rounds):
        picture: list[JsonObject] = [
            {"type": "input_image", "image_url": "http://x/y"},
            {"type": "input_text", "text": text},
        ]
        output = picture if kind == "image" else text
        run += [message(kind, text)] if kind in ("user", "assistant") else call_of(f"c{number}", output)
    items: list[InputItem] = INPUT_ITEMS.validate_python(run)
    kept = condensed(items, room, item_tokens)
    if kept is None:
        # Nothing to summarize, or not even excerpts of the newest prompts and the newest round fit.
        assert room < 1500 or all(kind == "user" for _, kind in rounds)
        return
    assert size(kept) <= room
    if any(kind != "user" for _, kind in rounds):
        assert any(not isinstance(item, UserMessage) for item in kept)
    if room >= 400 * len(items):
        assert [item.type for item in kept] == [item.type for item in items]


async def test_a_loop_that_grows_is_compacted_and_goes_on(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says(ORDER, Script(words=7))
    answer = Script(words=4)
    script(upstream, "compact me", calls(("a", "get_weather", {"city": LONG})), answer)
    events = await collect(client, {"input": "compact me", "tools": HOSTED, **MANAGED})
    response = check_whole(events, answer.text)
    assert types(response) == ["function_call", "function_call_output", "compaction", "message"]
    compaction = response["output"][2]
    assert set(compaction) == {"type", "id", "encrypted_content"}
    # All of it: two letters may stand in any cipher text by chance.
    assert Script(words=7).text not in compaction["encrypted_content"]
    asked, told = list(upstream.requests)[-2:]
    assert asked["messages"][-1]["content"] == ORDER
    assert not asked.get("tools")
    assert Script(words=7).text in told["messages"][0]["content"]
    assert [m["role"] for m in told["messages"]][1:] == ["user"]
    assert told["messages"][-1]["content"] == "compact me"
    assert response["usage"]["output_tokens"] == 4 + 7

    upstream.says("what now", Script(words=3))
    body: dict[str, Any] = {"model": "fake", "input": "what now", "previous_response_id": response["id"]}
    following = (await client.post("/v1/responses", json=body)).json()
    assert following["status"] == "completed"
    shown = [m["content"] for m in upstream.requests[-1]["messages"]]
    assert Script(words=7).text in shown[0]
    assert shown[1:] == [answer.text, "what now"]

    sent_back = [*response["output"], message("user", "what now")]
    again = await client.post("/v1/responses", json={"model": "fake", "input": sent_back})
    assert again.json()["status"] == "completed", again.text
    forged = {"type": "compaction", "encrypted_content": compaction["encrypted_content"][:-4] + "AAAA"}
    refused = await client.post("/v1/responses", json={"model": "fake", "input": [forged]})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "input[0].encrypted_content"


async def test_a_worker_killed_after_a_compaction_does_not_write_it_twice(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says(ORDER, Script(words=7))
    answer = Script(words=40, gap=0.02)
    script(upstream, "compact and die", calls(("a", "get_weather", {"city": LONG})), answer)

    async def kill() -> None:
        await stack.kill(await stack.busy_worker())

    events = await stream_and(client, "compact and die", kill, once=in_the_answer, **MANAGED)
    response = check_whole(events, answer.text)
    assert types(response).count("compaction") == 1
    assert [event async for event in events_of(client, resume=(response["id"], None))] == events


_MID = """
[[routes]]
model = "fake-mid"
provider = "fake"
context_window = 3000
"""


@pytest.mark.campaign
async def test_a_result_longer_than_the_window_is_in_the_notes_that_replace_it(
    stack: Stack, upstream: Upstream
) -> None:
    upstream.says(ORDER, Script(words=7))
    answer = Script(words=4)
    turns = [calls((str(i), "get_weather", {"city": city})) for i, city in enumerate(("Oslo", "begins " + LONG * 3))]
    script(upstream, "compact the long one", *turns, answer)
    async with another_api(stack, tail=_MID) as client:
        events = await collect(
            client, {"model": "fake-mid", "input": "compact the long one", "tools": HOSTED, **MANAGED}
        )
    response = check_whole(events, answer.text)
    assert types(response) == [*["function_call", "function_call_output"] * 2, "compaction", "message"]
    asked = next(r for r in reversed(upstream.requests) if r["messages"][-1]["content"] == ORDER)
    assert [m["role"] for m in asked["messages"]] == ["user", "assistant", "tool", "assistant", "tool", "user"]
    told = asked["messages"][-2]["content"]
    assert "begins filler" in told
    assert "characters were left out" in told
    assert 0 < asked["max_tokens"] <= 500


async def test_the_notes_and_the_answer_together_keep_to_the_output_budget(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says(ORDER, Script(words=7))
    script(upstream, "compact within bounds", calls(("a", "get_weather", {"city": LONG})), Script(words=4))
    body = {"input": "compact within bounds", "tools": HOSTED, "max_output_tokens": 600, **MANAGED}
    response = check_whole(await collect(client, body), Script(words=4).text)
    asked, told = list(upstream.requests)[-2:]
    assert asked["messages"][-1]["content"] == ORDER
    assert asked["max_tokens"] == 300
    assert told["max_tokens"] == 600 - 7
    assert response["usage"]["output_tokens"] == 7 + 4


async def test_a_summary_without_a_word_costs_nothing_but_its_tokens(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says(ORDER, Script(words=0, finish="length"))
    script(upstream, "compact in vain", calls(("a", "get_weather", {"city": LONG})), Script(words=4))
    response = check_whole(
        await collect(client, {"input": "compact in vain", "tools": HOSTED, **MANAGED}), "w0 w1 w2 w3 "
    )
    assert types(response) == ["function_call", "function_call_output", "message"]
    assert [m["role"] for m in upstream.requests[-1]["messages"]] == ["user", "assistant", "tool"]
