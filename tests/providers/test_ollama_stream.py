"""The answers of Ollama as deltas, over a real socket, and its errors."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.ollama import Ollama
from dev.services import free_port
from open_responses.config import ProviderConfig
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta, Finish, ReasoningDelta, ReasoningSeal, TextDelta, ToolCallDelta, Usage
from open_responses.errors import (
    ContextLengthExceeded,
    OpenResponsesError,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)
from open_responses.models import sealed_reasoning
from tests.support.ollama_lines import done, line, ndjson, said
from tests.support.provider_wire import Answer, Wire, call, failure_of, finish_of, refusal, sampled, text_of


def thought(text: str) -> dict[str, Any]:
    return line({"thinking": text}, done=False)


def called(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"function": {"index": 0, "name": name, "arguments": arguments}, **more}


async def answered(http: httpx.AsyncClient, *lines: dict[str, Any], asked: SampleCall | None = None) -> list[Delta]:
    async with Wire(ndjson(*lines)) as wire:
        return await sampled(Ollama(wire.provider("ollama"), http, None), asked or call())


async def failed(http: httpx.AsyncClient, answer: Answer, **request: Any) -> OpenResponsesError:
    async with Wire(answer) as wire:
        adapter = Ollama(wire.provider("ollama", timeout_seconds=0.2), http, "hush-hush")
        return await failure_of(adapter, call(**request))


# --- the answer


async def test_text_comes_as_it_is_said_and_usage_counts_what_was_cached(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, said("Grüß "), said("dich 🙂"), done())
    assert deltas == [
        TextDelta("Grüß "),
        TextDelta("dich 🙂"),
        Finish("stop", Usage(input_tokens=29, output_tokens=3, cached_tokens=12), "qwen3"),
    ]


async def test_a_stream_cut_at_every_byte_is_the_same(http: httpx.AsyncClient) -> None:
    lines = (thought("Hm 🙂"), said("Grüße "), line({"tool_calls": [called("f", {"ä": "ü"})]}, done=False), done())
    async with Wire(ndjson(*lines), ndjson(*lines, cut=1)) as wire:
        adapter = Ollama(wire.provider("ollama"), http, None)
        assert await sampled(adapter, call()) == await sampled(adapter, call())


async def test_thinking_is_reasoning_sealed_as_ours(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, thought("Let me"), thought(" see."), said("42"), done())
    assert deltas[:2] == [ReasoningDelta("Let me"), ReasoningDelta(" see.")]
    assert isinstance(deltas[2], ReasoningSeal)
    assert sealed_reasoning.content_for("ollama", deltas[2].data) is not None
    assert deltas[3] == TextDelta("42")


async def test_thinking_without_an_answer_is_sealed_at_the_end(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, thought("Round and round"), done("length"))
    assert [type(delta) for delta in deltas] == [ReasoningDelta, ReasoningSeal, Finish]


@pytest.mark.parametrize("in_one_line", [True, False])
async def test_parallel_calls_come_whole_with_ids_or_without(http: httpx.AsyncClient, in_one_line: bool) -> None:
    calls = [called("get_weather", {"city": "Zürich"}, id="call_7"), called("get_time", {}), called("get_time", None)]
    lines = [line({"tool_calls": calls}, done=False)]
    if not in_one_line:
        lines = [line({"tool_calls": [one]}, done=False) for one in calls]
    assert await answered(http, *lines, done()) == [
        ToolCallDelta(0, '{"city": "Zürich"}', "call_7", "get_weather"),
        ToolCallDelta(1, "{}", None, "get_time"),
        ToolCallDelta(2, "{}", None, "get_time"),
        Finish("tool_calls", Usage(29, 3, 12), "qwen3"),
    ]


@pytest.mark.parametrize(("reason", "finish"), [("stop", "stop"), ("length", "length"), ("load", "stop"), ("", "stop")])
async def test_every_done_reason_has_its_finish(http: httpx.AsyncClient, reason: str, finish: str) -> None:
    (last,) = await answered(http, done(reason))
    assert finish_of([last]).reason == finish


async def test_an_answer_without_counts_is_estimated(http: httpx.AsyncClient) -> None:
    deltas = await answered(http, said("x" * 40), line({}, done=True), asked=call("y" * 400))
    usage = finish_of(deltas).usage
    assert usage.estimated
    assert usage.output_tokens == 10
    assert usage.input_tokens >= 100


async def test_a_prompt_that_was_all_cached_counts_as_input(http: httpx.AsyncClient) -> None:
    usage = finish_of(await answered(http, done(prompt_eval_count=None))).usage
    assert (usage.input_tokens, usage.cached_tokens) == (12, 12)


async def test_logprobs_have_the_shape_of_the_specification(http: httpx.AsyncClient) -> None:
    one = {"token": "ü", "logprob": -0.1, "top_logprobs": [{"token": "u", "logprob": -2.5}]}
    deltas = await answered(http, line({"content": "ü"}, done=False, logprobs=[one]), done())
    top = {"token": "u", "logprob": -2.5, "bytes": [117]}
    assert deltas[0] == TextDelta("ü", [{"token": "ü", "logprob": -0.1, "bytes": [195, 188], "top_logprobs": [top]}])


async def test_unknown_members_and_empty_lines_are_ignored(http: httpx.AsyncClient) -> None:
    body = json.dumps(said("a") | {"remote_model": "x"}) + "\n\n" + json.dumps(done()) + "\n"
    async with Wire(Answer(body.encode(), content_type="application/x-ndjson")) as wire:
        assert text_of(await sampled(Ollama(wire.provider("ollama"), http, None), call())) == "a"


# --- failures


async def test_a_model_that_is_not_pulled_is_an_error_with_the_command(http: httpx.AsyncClient) -> None:
    error = await failed(http, refusal(404, {"error": "model 'phi4' not found"}), model="phi4")
    assert isinstance(error, ProviderRejected)
    assert error.error_code == "model_not_found"
    assert "`ollama pull phi4`" in error.message


async def test_a_server_that_is_not_there_is_an_error_with_the_command(http: httpx.AsyncClient) -> None:
    config = ProviderConfig(name="home", adapter="ollama", base_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ProviderUnavailable, match="`ollama serve`"):
        await sampled(Ollama(config, http, None), call())


@pytest.mark.parametrize(
    ("status", "said_", "kind"),
    [
        (400, '"llama3" does not support thinking', ProviderRejected),
        (400, "registry.ollama.ai/library/gemma does not support tools", ProviderRejected),
        (
            400,
            "the prompt is longer than the context length currently available to the model; shorten the prompt",
            ContextLengthExceeded,
        ),
        (401, "unauthorized", ProviderAuthentication),
        (403, "this model requires a subscription", ProviderAuthentication),
        (429, "you have reached your hourly usage limit", ProviderRateLimited),
        (500, "llama runner process has terminated: signal: killed", ProviderUnavailable),
        (500, "model requires more system memory (19.2 GiB) than is available (9.1 GiB)", ProviderRejected),
        (502, "upstream cannot be reached", ProviderUnavailable),
        (503, "server busy, please try again. maximum pending requests exceeded", ProviderUnavailable),
    ],
)
@pytest.mark.parametrize("in_stream", [False, True])
async def test_every_status_has_its_error(
    http: httpx.AsyncClient, status: int, said_: str, kind: type[Exception], in_stream: bool
) -> None:
    answer = refusal(status, {"error": said_})
    if in_stream:
        answer = ndjson(said("half"), {"error": said_, "status_code": status})
    error = await failed(http, answer)
    assert type(error) is kind
    assert kind is ProviderAuthentication or said_ in error.message


async def test_an_error_in_the_middle_without_a_status_can_be_tried_again(http: httpx.AsyncClient) -> None:
    error = await failed(http, ndjson(said("half"), {"error": "an error was encountered while running the model"}))
    assert isinstance(error, ProviderUnavailable)
    assert error.retryable


async def test_retry_after_is_kept(http: httpx.AsyncClient) -> None:
    assert (await failed(http, refusal(429, {"error": "slow down"}, retry_after="7"))).retry_after == 7


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ndjson(said("half")), ProviderStreamBroken),
        (ndjson(said("half"), breaks=True), ProviderStreamBroken),
        (ndjson(said("half"), stalls=True), ProviderTimeout),
        (
            Answer(b'{"message": {"content": "a"}}\n{not json\n', content_type="application/x-ndjson"),
            ProviderStreamBroken,
        ),
        (Answer(b"[]\n", content_type="application/x-ndjson"), ProviderStreamBroken),
    ],
)
async def test_a_stream_without_its_last_line_is_broken(
    http: httpx.AsyncClient, answer: Answer, kind: type[Exception]
) -> None:
    assert type(await failed(http, answer)) is kind


async def test_a_key_is_never_in_an_error(http: httpx.AsyncClient) -> None:
    error = await failed(http, refusal(400, {"error": "bad header: Bearer hush-hush"}))
    assert "hush-hush" not in error.message
