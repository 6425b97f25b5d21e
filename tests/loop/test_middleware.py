"""The middlewares that come with the server, each alone, and some of them around real responses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import httpx
import pytest

from activities.middleware_loader import load_middleware
from open_responses.config import Config
from open_responses.contracts import (
    Halt,
    Middleware,
    NoCounters,
    SampleCall,
    SampleContext,
    ToolContext,
    ToolNext,
    ToolOutput,
)
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
    ResumeToken,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import ProviderTimeout, ServerError, TokenBudgetExceeded
from open_responses.io.redis.client import connect
from open_responses.io.redis.counters import RedisCounters
from open_responses.json_types import JsonObject
from open_responses.middleware.audit_log import AuditLog
from open_responses.middleware.compose import compose_sample, compose_tool
from open_responses.middleware.content_guard import ContentGuard
from open_responses.middleware.redact_pii import RedactPII
from open_responses.middleware.token_budget import TokenBudget
from open_responses.middleware.truncate_tool_results import TruncateToolResults
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.requests import CreateResponse
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import HOSTED, outputs, run, script
from tests.support.stack import Stack, check_whole, collect

USAGE = Usage(input_tokens=60, output_tokens=40)


def context(*items: JsonObject, **settings: object) -> SampleContext:
    request = CreateResponse.model_validate({"model": "m", "input": "x", **settings})
    call = SampleCall("m", INPUT_ITEMS.validate_python(list(items)), request)
    return SampleContext(call, response_id="resp_1", tenant="acme")


class Model:
    """A provider in one function; remembers what it was sent."""

    def __init__(self, *words: str, usage: Usage = USAGE, error: Exception | None = None) -> None:
        self.words, self.usage, self.error, self.closed = words, usage, error, False
        self.sent: SampleCall | None = None

    async def sample(self, given: SampleContext) -> AsyncIterator[Delta]:
        self.sent = given.call
        try:
            for word in self.words:
                yield TextDelta(word)
            if self.error is not None:
                raise self.error
            yield Finish("stop", self.usage)
        finally:
            self.closed = True


async def said(middlewares: Sequence[Middleware], model: Model, given: SampleContext) -> str:
    deltas = [delta async for delta in compose_sample(middlewares, model.sample)(given)]
    assert isinstance(deltas[-1], Finish)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


async def _read(stream: AsyncIterator[Delta], shown: list[str]) -> None:
    async for delta in stream:
        shown.append(delta.text if isinstance(delta, TextDelta) else "")


async def _gather(stream: AsyncIterator[Delta], shown: list[Delta]) -> None:
    async for delta in stream:
        shown.append(delta)


def user(text: str) -> JsonObject:
    return {"role": "user", "content": text}


async def test_a_budget_goes_by_what_the_response_has_used_and_nothing_can_make_it_forget() -> None:
    budget, call = TokenBudget(per_response=150), context(user("hi")).call
    within = SampleContext(call, "resp_1", "acme", used=Usage(input_tokens=100, output_tokens=49))
    assert await said([budget], Model("a"), within) == "a"
    with pytest.raises(Halt) as halted:
        await said([budget], Model("a"), replace(within, used=Usage(input_tokens=100, output_tokens=100)))
    assert isinstance(halted.value.error, TokenBudgetExceeded)
    assert "200 tokens of 150" in str(halted.value)


async def test_an_hours_and_a_days_budget_count_each_sample_once() -> None:
    hourly, daily = TokenBudget(per_tenant=250, window_seconds=3600), TokenBudget(per_tenant=350)
    counters = NoCounters()
    given = SampleContext(context(user("hi")).call, "resp_1", "acme", counters=counters)
    for _ in range(3):
        assert await said([hourly, daily], Model("a"), given) == "a"
    with pytest.raises(Halt, match="300 tokens of 250"):
        await said([hourly, daily], Model("a"), given)
    assert sorted(counters.counts.values()) == [300, 300]


async def test_a_tenants_budget_is_shared_by_its_responses() -> None:
    budget, counters = TokenBudget(per_tenant=100), NoCounters()
    call = context(user("hi")).call
    await said([budget], Model("a"), SampleContext(call, "resp_1", "acme", counters=counters))
    with pytest.raises(Halt, match="acme"):
        await said([budget], Model("a"), SampleContext(call, "resp_2", "acme", counters=counters))
    assert await said([budget], Model("a"), SampleContext(call, "resp_3", "other", counters=counters)) == "a"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("write to jo.doe+x@mail.example.org now", "write to [email] now"),
        ("card 4111 1111 1111 1111.", "card [card]."),
        ("order 4111 1111 1111 1112.", "order 4111 1111 1111 1112."),
        ("IBAN DE89 3704 0044 0532 0130 00!", "IBAN [iban]!"),
        ("call +49 30 901820 or (212) 555-0199", "call [phone] or [phone]"),
        ("ssn 078-05-1120", "ssn [us_ssn]"),
        ("in 2024, 1,000 of 12345 on 2024-10-11 at 10:20", "in 2024, 1,000 of 12345 on 2024-10-11 at 10:20"),
        ("case X-17 is closed", "case [redacted] is closed"),
    ],
)
def test_personal_data_is_found_and_the_rest_is_left(text: str, kept: str) -> None:
    assert RedactPII(pattern=r"X-\d+").redacted(text) == kept


async def test_the_provider_reads_no_personal_data_wherever_it_is() -> None:
    model = Model("ok")
    given = context(
        {"role": "user", "content": [{"type": "input_text", "text": "I am a@b.example"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"to": "a@b.example", "n": 1}'},
        {"type": "function_call_output", "call_id": "c", "output": "sent to a@b.example"},
        instructions="You serve a@b.example",
    )
    await said([RedactPII()], model, given)
    assert model.sent is not None
    shown = json.dumps([item.model_dump(mode="json") for item in model.sent.items]) + str(model.sent.request)
    assert "a@b.example" not in shown
    assert shown.count("[email]") == 4
    assert json.loads(model.sent.items[1].arguments) == {"to": "[email]", "n": 1}  # type: ignore[union-attr]


async def test_thoughts_and_their_summaries_are_redacted_and_what_a_provider_wrote_for_itself_is_not() -> None:
    model = Model("ok")
    searched = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "a@b.example"}}
    given = context(
        user("look"),
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "ask a@b.example"}],
            "content": [{"type": "reasoning_text", "text": "perhaps a@b.example"}],
            "encrypted_content": "the seal of a@b.example",
        },
        searched,
    )
    await said([RedactPII()], model, given)
    assert model.sent is not None
    _, thought, record = [item.model_dump(mode="json", exclude_unset=True) for item in model.sent.items]
    assert thought["summary"][0]["text"] == "ask [email]"
    assert thought["content"][0]["text"] == "perhaps [email]"
    assert thought["encrypted_content"] == "the seal of a@b.example"
    assert record == searched


EVERY_DELTA: list[Delta] = [
    ResumeToken("again"),
    ReasoningSummaryDelta("short", summary_index=1),
    ReasoningDelta("long"),
    ReasoningSeal("sealed"),
    ItemEnd(),
    ProviderItemStart(0, {"type": "code_interpreter_call"}),
    ProviderItemProgress(0, "response.code_interpreter_call_code.delta", {"delta": "x = 1"}),
    ProviderItem({"type": "web_search_call", "action": {"query": "q"}}),
    TextDelta("word", logprobs=[{"token": "word"}], phase="commentary"),
    TextAnnotation({"type": "url_citation", "url": "http://x", "title": "t", "start_index": 0, "end_index": 4}),
    RefusalDelta("no"),
    ToolCallDelta(0, "{}", "c", "f"),
    Finish("stop", USAGE),
]


def shipped(folder: Path) -> list[Middleware]:
    return [
        AuditLog(str(folder / "audit.jsonl")),
        ContentGuard("never said"),
        RedactPII(),
        TokenBudget(per_response=1000, per_tenant=1000),
        TruncateToolResults(),
    ]


async def test_each_shipped_middleware_hands_every_delta_on_as_it_is(tmp_path: Path) -> None:
    assert {type(delta) for delta in EVERY_DELTA} == set(get_args(Delta))

    async def model(_: SampleContext) -> AsyncIterator[Delta]:
        for delta in EVERY_DELTA:
            yield delta

    call = replace(context(user("hi")).call, resume_token="again")
    for middlewares in ([], *([one] for one in shipped(tmp_path)), shipped(tmp_path)):
        sample = compose_sample(middlewares, model)
        assert [delta async for delta in sample(SampleContext(call, "resp_1", "acme"))] == EVERY_DELTA


@pytest.mark.parametrize(
    "leak",
    [
        [TextDelta("the co"), ReasoningDelta("hm"), TextDelta("de is 7")],
        [ReasoningSummaryDelta("code "), TextDelta("so"), ReasoningSummaryDelta("is 7")],
        [ReasoningDelta("code is"), ReasoningDelta(" 7")],
        [RefusalDelta("not the co"), RefusalDelta("de is 7")],
        [ToolCallDelta(0, '{"a": "code', "c", "f"), ToolCallDelta(1, "{", "d", "f"), ToolCallDelta(0, ' is 7"}')],
        [TextDelta("x"), TextAnnotation({"type": "url_citation", "title": "code is 7", "url": "http://x"})],
        [ProviderItem({"type": "web_search_call", "action": {"queries": ["code is 7"]}})],
    ],
    ids=lambda leak: type(leak[-1]).__name__ + str(len(leak)),
)
async def test_the_guard_reads_each_thing_that_is_said_across_what_comes_in_between(leak: list[Delta]) -> None:
    async def model(_: SampleContext) -> AsyncIterator[Delta]:
        for delta in leak:
            yield delta

    shown: list[Delta] = []
    with pytest.raises(Halt):
        await _gather(compose_sample([ContentGuard("code is 7")], model)(context(user("hi"))), shown)
    assert shown == leak[:-1]


async def test_words_of_different_things_that_are_said_make_no_match_together() -> None:
    apart = [
        ToolCallDelta(0, "code ", "c", "f"),
        ToolCallDelta(1, "is 7", "d", "f"),
        TextDelta("code "),
        Finish("stop"),
    ]
    sealed = [ReasoningSeal("code is 7"), ProviderItem({"type": "x", "encrypted_content": "code is 7"})]

    async def model(_: SampleContext) -> AsyncIterator[Delta]:
        for delta in (*sealed, *apart):
            yield delta

    guarded = compose_sample([ContentGuard("code is 7")], model)(context(user("hi")))
    assert [delta async for delta in guarded] == [*sealed, *apart]


async def test_the_guard_looks_at_what_comes_in_and_at_what_goes_out() -> None:
    guard = ContentGuard("secret  plan", "No.")
    model = Model("fine")
    with pytest.raises(Halt, match=r"No\."):
        await said([guard], model, context(user("the SECRET  PLAN")))
    assert model.sent is None
    answered = [user("the secret  plan"), {"role": "assistant", "content": "no"}, user("and now?")]
    assert await said([guard], model, context(*answered)) == "fine"
    shown: list[str] = []
    leaking = Model("a sec", "ret  pl", "an, told")
    stream = compose_sample([guard], leaking.sample)(context(user("hi")))
    with pytest.raises(Halt):
        await _read(stream, shown)
    assert "".join(shown) == "a secret  pl"
    assert leaking.closed


async def test_the_audit_log_has_a_line_for_each_try(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(str(path))
    await said([audit], Model("top", "secret"), context(user("secret")))
    with pytest.raises(ProviderTimeout):
        await said([audit], Model("a", error=ProviderTimeout("late")), context(user("secret")))

    async def tool(_: ToolContext) -> str:
        return "secret"

    await compose_tool([audit], tool)(ToolContext("resp_1", "c", "f", "acme", attempt=2, arguments={"a": "secret"}))
    first, second, third = [json.loads(line) for line in path.read_text().splitlines()]
    assert (first["event"], first["outcome"], first["output_tokens"]) == ("sample", "stop", 40)
    assert (second["outcome"], second["output_tokens"]) == ("ProviderTimeout", None)
    assert (third["event"], third["tool"], third["attempt"], third["outcome"]) == ("tool_call", "f", 2, "done")
    assert "secret" not in path.read_text()


async def test_long_results_are_cut_for_the_model_only() -> None:
    model = Model("ok")
    given = context(
        user("x" * 5000),
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "begin" + "y" * 5000 + "end"},
    )
    await said([TruncateToolResults(max_characters=1000)], model, given)
    assert model.sent is not None
    prompt, _, result = [item.model_dump() for item in model.sent.items]
    assert len(prompt["content"]) == 5000
    assert result["output"].startswith("begin")
    assert result["output"].endswith("end")
    assert "4,008 of 5,008 characters were left out" in result["output"]


async def test_the_first_of_the_list_is_outermost_and_closing_it_closes_all() -> None:
    order: list[str] = []

    class Named(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        async def around_sample(self, context: SampleContext, call_next: object) -> AsyncIterator[Delta]:
            order.append(f"+{self.name}")
            try:
                async for delta in call_next(context):  # type: ignore[operator]
                    yield delta
            finally:
                order.append(f"-{self.name}")

    model = Model("a", "b", "c")
    stream = compose_sample([Named("outer"), Middleware(), Named("inner")], model.sample)(context(user("hi")))
    await anext(stream)
    await stream.aclose()
    assert order == ["+outer", "+inner", "-outer", "-inner"]
    assert model.closed


async def test_an_adapter_whose_stream_is_no_generator_is_asked_once_and_its_stream_is_closed() -> None:
    class Stream:
        def __init__(self) -> None:
            self.deltas: list[Delta] = [TextDelta("a"), TextDelta("b")]
            self.closed = False

        def __aiter__(self) -> Stream:
            return self

        async def __anext__(self) -> Delta:
            if not self.deltas:
                raise StopAsyncIteration
            return self.deltas.pop(0)

        async def aclose(self) -> None:
            self.closed = True

    asked: list[Stream] = []

    def sample(_: SampleContext) -> Stream:
        asked.append(Stream())
        return asked[-1]

    stream = compose_sample([], sample)(context(user("hi")))
    assert await anext(stream) == TextDelta("a")
    await stream.aclose()
    assert [each.closed for each in asked] == [True]


@pytest.mark.parametrize(
    "returned", [None, {"text": "x"}, 7, b"x", ["x"], [{"type": "input_text"}], [{"type": "output_text", "text": "x"}]]
)
async def test_a_middleware_that_returns_no_output_is_named_and_its_call_is_not_tried_again(returned: object) -> None:
    class Forgetful(Middleware):
        async def around_tool(self, context: ToolContext, call_next: ToolNext) -> ToolOutput:
            await call_next(context)
            return returned  # type: ignore[return-value]

    async def tool(_: ToolContext) -> str:
        return "fine"

    call = compose_tool([Middleware(), Forgetful(), Middleware()], tool)
    with pytest.raises(ServerError, match=r"Forgetful is broken: .*returned") as raised:
        await call(ToolContext("resp_1", "c", "f", "acme"))
    assert not raised.value.retryable


@pytest.mark.parametrize("output", ["", "text", [], [{"type": "input_text", "text": "x"}]])
async def test_every_kind_of_output_passes_a_middleware(output: ToolOutput) -> None:
    async def tool(_: ToolContext) -> ToolOutput:
        return output

    class Passing(Middleware):
        async def around_tool(self, context: ToolContext, call_next: ToolNext) -> ToolOutput:
            return await call_next(context)

    assert await compose_tool([Passing()], tool)(ToolContext("resp_1", "c", "f", "acme")) == output


async def test_a_middleware_that_returns_no_stream_is_named() -> None:
    class Confused(Middleware):
        async def around_sample(self, context: SampleContext, call_next: object) -> None:  # type: ignore[override]
            return None

    with pytest.raises(ServerError, match="Confused is broken: its around_sample returned coroutine"):
        await said([Confused()], Model("a"), context(user("hi")))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"target": "no_such_module:X"}, "no_such_module"),
        ({"target": "open_responses.middleware.token_budget:TokenBudget"}, "per_response"),
        ({"target": "open_responses.middleware.content_guard:ContentGuard", "options": {"pattern": "("}}, "expression"),
        ({"target": "open_responses.middleware.redact_pii:RedactPII", "options": {"kinds": "name"}}, "unknown kinds"),
        ({"target": "open_responses.middleware.audit_log:AuditLog", "options": {"pth": "x"}}, "pth"),
    ],
)
def test_a_middleware_that_cannot_be_used_is_said_at_the_start(entry: JsonObject, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        load_middleware(Config.model_validate({"middleware": [entry]}))


async def test_a_guarded_response_ends_complete_with_the_guards_words(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    events = await collect(client, {"input": "something unspeakable"})
    response = check_whole(events, "Not here.")
    assert response["status"] == "completed"
    assert not [r for r in upstream.requests if r["messages"][-1]["content"] == "something unspeakable"]


async def test_a_halt_around_a_tool_speaks_for_it_or_ends_the_response(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script(upstream, "sunk", calls(("a", "get_weather", {"city": "Atlantis"})), Script(words=3))
    response = await run(client, "sunk")
    assert (response["status"], outputs(response)) == ("completed", ["It has sunk."])
    wanted = calls(("a", "get_weather", {"city": "Mordor"}), ("b", "slow", {"seconds": 30}))
    script(upstream, "not simply", wanted, Script(words=3))
    events = await collect(client, {"input": "not simply", "tools": HOSTED})
    assert events[-1]["type"] == "response.failed"
    failed = events[-1]["response"]
    assert failed["error"] == {"code": "not_simply", "message": "One does not simply ask."}
    assert [item["status"] for item in failed["output"]] == ["completed", "completed", "completed", "incomplete"]
    audited = [json.loads(line) for line in (stack.data / "audit.jsonl").read_text().splitlines()]
    ours = [line for line in audited if line["response_id"] == failed["id"]]
    assert {(line["event"], line["outcome"]) for line in ours} >= {("sample", "tool_calls"), ("tool_call", "Halt")}


async def test_what_is_counted_in_an_outage_is_counted_afterwards(stack: Stack) -> None:
    redis = connect(stack.redis_url)
    counters = RedisCounters(redis)
    assert await counters.add("test:owed", 3, ttl_seconds=60) == 3
    await stack.kill_valkey_synced()
    assert await counters.add("test:owed", 4, ttl_seconds=60) == 4
    await stack.start("valkey")
    assert await counters.add("test:owed", 5, ttl_seconds=60) == 12
    assert await RedisCounters(redis).add("test:owed", 0, ttl_seconds=60) == 12
    await redis.aclose()
