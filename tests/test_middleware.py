"""The middlewares that come with the server, each alone, and some of them around real responses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest

from activities.middleware import load_middleware
from open_responses.config import Config
from open_responses.contracts import Halt, Middleware, NoCounters, SampleCall, SampleContext, ToolContext
from open_responses.deltas import Delta, Finish, TextDelta, Usage
from open_responses.errors import ProviderTimeout, TokenBudgetExceeded
from open_responses.io.counters import RedisCounters
from open_responses.io.redis import connect
from open_responses.items import INPUT_ITEMS
from open_responses.json_types import JsonObject
from open_responses.middleware.audit_log import AuditLog
from open_responses.middleware.compose import compose_sample, compose_tool
from open_responses.middleware.content_guard import ContentGuard
from open_responses.middleware.redact_pii import RedactPII
from open_responses.middleware.token_budget import TokenBudget
from open_responses.middleware.truncate_tool_results import TruncateToolResults
from open_responses.requests import CreateResponse
from tests.stack import Stack, check_whole, collect
from tests.test_loop import HOSTED, outputs, run, script
from tests.upstream import Script, Upstream, calls

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


def user(text: str) -> JsonObject:
    return {"role": "user", "content": text}


async def test_a_budget_ends_the_response_that_has_used_it_and_no_other() -> None:
    budget, counters = TokenBudget(per_response=150), NoCounters()
    given = SampleContext(context(user("hi")).call, "resp_1", "acme", counters=counters)
    for _ in range(2):
        assert await said([budget], Model("a"), given) == "a"
    with pytest.raises(Halt) as halted:
        await said([budget], Model("a"), given)
    assert isinstance(halted.value.error, TokenBudgetExceeded)
    assert "200 tokens of 150" in str(halted.value)
    other = SampleContext(given.call, "resp_2", "acme", counters=counters)
    assert await said([budget], Model("a"), other) == "a"


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
    await stack.kill("valkey")
    assert await counters.add("test:owed", 4, ttl_seconds=60) == 4
    await stack.start("valkey")
    assert await counters.add("test:owed", 5, ttl_seconds=60) == 12
    assert await RedisCounters(redis).add("test:owed", 0, ttl_seconds=60) == 12
    await redis.aclose()
