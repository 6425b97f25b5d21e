"""The contract kit, on our own adapters and on one that breaks it; and the provider that plays a script."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import httpx
import pytest
import pytest_asyncio

from activities.providers.registry import build_providers
from activities.providers.shared.http import open_http_client
from open_responses.config import Config, ProviderConfig
from open_responses.contracts import ListedModel, Provider, Resume, SampleCall
from open_responses.deltas import Delta, Finish, TextAnnotation, TextDelta, ToolCallDelta, Usage
from open_responses.errors import ProviderUnavailable
from open_responses.testing.delta_checks import check_stream
from open_responses.testing.provider_contract import Canned, ProviderContract, call_of
from open_responses.testing.scripted import ScriptedProvider, calls, says
from tests.support.provider_wire import Answer, sampled, sse, text_of


def canned(answer: Answer) -> Canned:
    return Canned(answer.body, answer.content_type, answer.status, answer.headers)


class Ours(ProviderContract):
    """Of a built-in adapter, made as the worker makes it."""

    kind: ClassVar[str]
    http: ClassVar[httpx.AsyncClient]

    @asynccontextmanager
    async def adapter(self, config: ProviderConfig, api_key: str | None) -> AsyncIterator[Provider]:
        own = config.model_copy(update={"adapter": self.kind, "api_key_env": "A_KEY"})
        yield build_providers(Config(providers=(own,)), self.http, {"A_KEY": api_key or ""})[config.name]


@pytest_asyncio.fixture(autouse=True, scope="module")
async def http() -> AsyncIterator[None]:
    async with open_http_client() as Ours.http:
        yield


# --- OpenAI's Responses API


def _event(kind: str, index: int | None = None, **members: Any) -> dict[str, Any]:
    return {"type": kind, **({} if index is None else {"output_index": index}), **members}


def _created() -> dict[str, Any]:
    return _event("response.created", response={"id": "resp_1", "status": "in_progress", "output": []})


def _completed() -> dict[str, Any]:
    details = {"input_tokens_details": {"cached_tokens": 2}, "output_tokens_details": {"reasoning_tokens": 1}}
    usage = {"input_tokens": 9, "output_tokens": 4, **details}
    return _event("response.completed", response={"id": "resp_1", "status": "completed", "model": "m", "usage": usage})


def _spoken(index: int) -> list[dict[str, Any]]:
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    words = [_event("response.output_text.delta", index, content_index=0, delta=text) for text in ("Hello ", "you")]
    whole = {**message, "content": [{"type": "output_text", "text": "Hello you", "annotations": []}]}
    return [
        _event("response.output_item.added", index, item={**message, "content": []}),
        *words,
        _event("response.output_item.done", index, item=whole),
    ]


def _called(index: int, call_id: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    call = {"type": "function_call", "id": f"fc_{index}", "call_id": call_id, "name": name}
    added = _event("response.output_item.added", index, item={**call, "arguments": ""})
    words = [_event("response.function_call_arguments.delta", index, delta=piece) for piece in pieces]
    whole = {**call, "arguments": "".join(pieces), "status": "completed"}
    return [added, *words, _event("response.output_item.done", index, item=whole)]


_OPENAI_MODELS = Canned(
    b'{"object": "list", "data": [{"id": "gpt-5", "object": "model", "created": 1754425777, "owned_by": "system"},'
    b' {"id": "openai/gpt-4:free", "object": "model", "created": 1692901234}]}'
)


class TestOpenAIResponses(Ours):
    kind = "openai"
    path = "/v1"
    models = _OPENAI_MODELS
    text = canned(sse(_created(), *_spoken(0), _completed(), named=True))
    tool_calls = canned(
        sse(
            _created(),
            *_called(0, "call_a", "get_weather", '{"city":', '"Oslo"}'),
            *_called(1, "call_b", "get_time", "{}"),
            _completed(),
            named=True,
        )
    )
    reasoning = canned(
        sse(
            _created(),
            _event("response.reasoning_summary_text.delta", 0, summary_index=0, delta="Hm."),
            _event(
                "response.output_item.done",
                0,
                item={
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [{"type": "summary_text", "text": "Hm."}],
                    "encrypted_content": "gAAAA",
                },
            ),
            *_spoken(1),
            _completed(),
            named=True,
        )
    )
    error_in_stream = canned(
        sse(_created(), _event("error", error={"code": "server_error", "message": "Sorry."}), named=True)
    )


class TestOpenAIResponsesInTheBackground(TestOpenAIResponses):
    settings: ClassVar[dict[str, Any]] = {"resume": "background"}


# --- Chat Completions


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


_CHAT_USAGE = {
    "model": "m",
    "choices": [],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}},
}
_CHAT_TEXT = [_chunk({"content": "Hello "}), _chunk({"content": "you"}), _chunk({}, "stop"), _CHAT_USAGE]


def _chat_call(index: int, arguments: str, call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return _chunk({"tool_calls": [{"index": index, **({"id": call_id} if call_id else {}), "function": function}]})


class TestOpenAIChat(Ours):
    kind = "openai-chat"
    path = "/v1"
    models = _OPENAI_MODELS
    text = canned(sse(*_CHAT_TEXT, done=True))
    tool_calls = canned(
        sse(
            _chat_call(0, "", "call_a", "get_weather"),
            _chat_call(1, "{}", "call_b", "get_time"),
            _chat_call(0, '{"city": '),
            _chat_call(0, '"Oslo"}'),
            _chunk({}, "tool_calls"),
            _CHAT_USAGE,
            done=True,
        )
    )
    reasoning = canned(sse(_chunk({"reasoning_content": "Hm."}), *_CHAT_TEXT, done=True))
    error_in_stream = canned(sse(_CHAT_TEXT[0], {"error": {"message": "overloaded", "type": "server_error"}}))


class TestOpenAIChatThatContinuesItsFinalMessage(TestOpenAIChat):
    settings: ClassVar[dict[str, Any]] = {"resume": "continue_final_message"}


# --- Anthropic


def _block(index: int, start: dict[str, Any], *pieces: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": piece} for piece in pieces),
        {"type": "content_block_stop", "index": index},
    ]


def _said(index: int) -> list[dict[str, Any]]:
    words = [{"type": "text_delta", "text": text} for text in ("Hello ", "you")]
    return _block(index, {"type": "text", "text": ""}, *words)


def _used(index: int, call_id: str, name: str, *pieces: str) -> list[dict[str, Any]]:
    words = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return _block(index, {"type": "tool_use", "id": call_id, "name": name, "input": {}}, *words)


def _message(*events: dict[str, Any], reason: str = "end_turn") -> Canned:
    usage = {"input_tokens": 7, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 3}
    return canned(
        sse(
            {"type": "message_start", "message": {"id": "msg_1", "model": "m", "usage": usage}},
            *events,
            {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 4}},
            {"type": "message_stop"},
            named=True,
        )
    )


_THOUGHTS = ({"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "c2ln"})


class TestAnthropic(Ours):
    kind = "anthropic"
    model = "claude-sonnet-4-5"
    moving = frozenset({"cache_control"})
    models = Canned(
        b'{"data": [{"type": "model", "id": "claude-opus-4-6", "created_at": "2026-02-04T00:00:00Z"},'
        b' {"type": "model", "id": "claude-a", "created_at": "1970-01-01T00:00:00Z"}], "has_more": false}'
    )
    text = _message(*_said(0))
    tool_calls = _message(
        *_used(0, "toolu_a", "get_weather", '{"city":', '"Oslo"}'), *_used(1, "toolu_b", "get_time"), reason="tool_use"
    )
    reasoning = _message(*_block(0, {"type": "thinking", "thinking": "", "signature": ""}, *_THOUGHTS), *_said(1))
    error_in_stream = canned(
        sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, named=True)
    )


class TestServersOfAnthropicsApi(TestAnthropic):
    model = "glm-5"


# --- Gemini


def _parts(*parts: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": list(parts)}, **({"finishReason": finish} if finish else {})}
    counts = {"promptTokenCount": 9, "cachedContentTokenCount": 2, "candidatesTokenCount": 3, "thoughtsTokenCount": 1}
    return {"candidates": [candidate], "usageMetadata": counts, "modelVersion": "m"}


_GEMINI_TEXT = [_parts({"text": "Hello "}), _parts({"text": "you"}, finish="STOP")]


class TestGemini(Ours):
    kind = "gemini"
    model = "gemini-3-flash"
    models = Canned(
        b'{"models": [{"name": "models/gemini-3-flash", "supportedGenerationMethods": ["generateContent"]},'
        b' {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},'
        b' {"name": "models/gemma-3-27b-it", "supportedGenerationMethods": ["generateContent", "countTokens"]}]}'
    )
    text = canned(sse(*_GEMINI_TEXT))
    tool_calls = canned(
        sse(
            _parts({"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}, "thoughtSignature": "c2ln"}),
            _parts({"functionCall": {"name": "get_time"}}, finish="STOP"),
        )
    )
    reasoning = canned(
        sse(
            _parts({"text": "Hm.", "thought": True}),
            _parts({"text": "Hello", "thoughtSignature": "c2ln"}, finish="STOP"),
        )
    )
    error_in_stream = canned(
        sse(_GEMINI_TEXT[0], {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}})
    )


# --- Ollama


def _lines(*messages: dict[str, Any], end: dict[str, Any] | None = None) -> Canned:
    done = {"done": True, "done_reason": "stop", "prompt_eval_count": 9, "prompt_eval_cached_count": 2, "eval_count": 4}
    lines = [
        *({"model": "m", "message": message, "done": False} for message in messages),
        end or {"model": "m", **done},
    ]
    return Canned("".join(json.dumps(line) + "\n" for line in lines).encode(), "application/x-ndjson")


class TestOllama(Ours):
    kind = "ollama"
    models = Canned(
        b'{"models": [{"name": "gemma3:latest", "model": "gemma3:latest", "modified_at": "2025-10-03T23:34:03-07:00"},'
        b' {"name": "hf.co/a/b:Q4_K_M", "model": "hf.co/a/b:Q4_K_M", "modified_at": "2025-10-03T23:34:03Z"}]}'
    )
    text = _lines({"content": "Hello "}, {"content": "you"})
    tool_calls = _lines(
        {"tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]},
        {"tool_calls": [{"function": {"name": "get_time", "arguments": {}}}]},
    )
    reasoning = _lines({"thinking": "Hm."}, {"content": "Hello "}, {"content": "you"})
    error_in_stream = _lines({"content": "Hello "}, end={"error": "the runner has stopped"})


# --- the kit itself


class Broken(ProviderContract):
    """Of an adapter that breaks nearly every rule; it is there to see that each is looked after."""

    text = Canned(b"Hello you")
    tool_calls = Canned(b"calls")
    reasoning = Canned(b"thinks")
    error_in_stream = Canned(b"fails")
    models = Canned(b"lists")
    patience_seconds = 0.3

    @asynccontextmanager
    async def adapter(self, config: ProviderConfig, api_key: str | None) -> AsyncIterator[Provider]:
        yield Careless(api_key)


class Careless:
    def __init__(self, api_key: str | None) -> None:
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        return "perhaps"  # type: ignore[return-value]

    async def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        yield ToolCallDelta(0, "{}")
        yield Finish("stop", Usage(input_tokens=1, cached_tokens=2))
        yield TextDelta("and another thing")

    async def list_models(self) -> list[ListedModel]:
        return [ListedModel("one"), ListedModel("/a/path")]


async def test_a_careless_adapter_passes_next_to_nothing() -> None:
    findings = {finding.check: finding.problem for finding in await Broken().run()}
    checks = {name.removeprefix("test_") for name in dir(Broken) if name.startswith("test_")}
    assert checks - findings.keys() <= {
        "an_answer_cut_at_every_byte_is_the_same",
        "two_answers_at_once_are_not_mixed_up",
    }


@pytest.mark.parametrize(
    ("deltas", "problem"),
    [
        ([TextDelta("a")], "exactly one Finish"),
        ([Finish("stop", Usage()), Finish("stop", Usage())], "exactly one Finish"),
        ([Finish("stop", Usage()), TextDelta("a")], "nothing comes behind"),
        ([TextDelta(None), Finish("stop", Usage())], "a text is a str"),  # type: ignore[arg-type]
        ([ToolCallDelta(0, "{}"), Finish("tool_calls", Usage())], "has its name"),
        ([ToolCallDelta(0, "", None, "f"), ToolCallDelta(0, "", None, "g"), Finish("stop", Usage())], "already"),
        ([ToolCallDelta(0, "", "c", "f"), ToolCallDelta(1, "", "c", "f"), Finish("stop", Usage())], "the same id"),
        ([TextAnnotation({"type": "url_citation"}), Finish("stop", Usage())], "could not send back"),
        ([Finish("stop", Usage(input_tokens=1, cached_tokens=1, cache_write_tokens=1))], "include those read"),
        ([Finish("stop", Usage(output_tokens=1, reasoning_tokens=2))], "include the reasoning"),
        ([Finish("stop", Usage(input_tokens=-1))], "count of tokens"),
        ([Finish("done", Usage())], "one of the reasons"),  # type: ignore[arg-type]
        (["hello", Finish("stop", Usage())], "yields deltas"),
    ],
)
async def test_what_is_wrong_with_a_stream_is_said(deltas: list[Delta], problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check_stream(deltas)


# --- the scripted provider


async def test_a_script_is_played_call_by_call_and_remembers_them() -> None:
    provider = ScriptedProvider(
        calls("get_weather", {"city": "Oslo"}),
        "It is cold.",
        lambda call: call.request.instructions or "",
        resume="prefill",
    )
    assert await sampled(provider, call_of("first")) == calls("get_weather", {"city": "Oslo"})
    assert await sampled(provider, call_of("second")) == says("It is cold.")
    assert text_of(await sampled(provider, call_of("third", instructions="Be kind."))) == "Be kind."
    assert [call.request.input for call in provider.calls] == ["first", "second", "third"]
    assert provider.resume_of(provider.calls[0]) == "prefill"
    with pytest.raises(AssertionError, match="3 answers, and this is call 4"):
        await sampled(provider, call_of("fourth"))


async def test_a_script_fails_where_it_says_and_goes_on_behind_a_prefix() -> None:
    provider = ScriptedProvider(
        ProviderUnavailable("down"), [TextDelta("Once "), ProviderUnavailable("gone")], otherwise="Once more."
    )
    with pytest.raises(ProviderUnavailable, match="down"):
        await sampled(provider, call_of())
    stream = provider.sample(call_of())
    assert await anext(stream) == TextDelta("Once ")
    with pytest.raises(ProviderUnavailable, match="gone"):
        await anext(stream)
    assert text_of(await sampled(provider, call_of(prefix="Once "))) == "more."
    stream = provider.sample(call_of())
    await anext(stream)
    assert provider.open_streams == 1
    await stream.aclose()
    assert provider.open_streams == 0
