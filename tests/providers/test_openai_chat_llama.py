"""The `openai-chat` adapter with a real llama.cpp server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from activities.providers.openai_chat import OpenAIChat
from dev import services
from open_responses.config import ProviderConfig
from open_responses.contracts import SampleCall
from open_responses.deltas import TextDelta
from open_responses.errors import ContextLengthExceeded
from tests.support.chat_chunks import NAME, SCATTERED, message, reasoning
from tests.support.provider_wire import CLOCK, WEATHER, call, finish_of, made_call, output_of, sampled, text_of

pytestmark = pytest.mark.campaign


@pytest_asyncio.fixture(scope="module")
async def local(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ProviderConfig]:
    """llama.cpp with SmolLM2."""
    try:
        port = services.free_port()
        service = services.llama(port)
    except services.Missing as missing:
        pytest.skip(str(missing))
    process = service.start(Path(tmp_path_factory.mktemp("llama")))
    try:
        assert await services.wait_ready(service, process, 60)
        yield ProviderConfig(name="local", adapter=NAME, base_url=f"http://127.0.0.1:{port}/v1")
    finally:
        await services.stop(process)


def local_call(*items: Any, **request: Any) -> SampleCall:
    return call(list(items), model="smollm2", temperature=0, **request)


async def test_llama_cpp_answers_in_deltas_with_usage(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    asked = local_call(
        *SCATTERED, message("user", "Say hello."), max_output_tokens=24, top_logprobs=2, seed=1, top_k=20
    )
    deltas = await sampled(OpenAIChat(local, http, None), asked)
    texts = [delta for delta in deltas if isinstance(delta, TextDelta)]
    assert len(texts) > 1
    assert all(delta.logprobs and len(delta.logprobs[0]["top_logprobs"]) == 2 for delta in texts)
    usage = finish_of(deltas).usage
    assert usage.input_tokens > 10
    assert 0 < usage.output_tokens <= 24
    assert not usage.estimated


async def test_llama_cpp_goes_on_where_an_answer_broke_off(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    question = message("user", "Count from one to ten in words, separated by commas.")
    whole = text_of(await sampled(OpenAIChat(local, http, None), local_call(question, max_output_tokens=40)))
    prefix = whole[: len(whole) // 2]
    rest = await sampled(OpenAIChat(local, http, None), local_call(question, max_output_tokens=40, prefix=prefix))
    assert text_of(rest)
    assert not text_of(rest).startswith(whole[:12])


async def test_llama_cpp_keeps_to_a_schema(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo"]}}, "required": ["city"]}
    wanted = {"format": {"type": "json_schema", "name": "city", "schema": schema}}
    deltas = await sampled(
        OpenAIChat(local, http, None), local_call(message("user", "Capital of Norway?"), text=wanted)
    )
    assert json.loads(text_of(deltas)) == {"city": "Oslo"}


async def test_llama_cpp_takes_a_conversation_with_calls(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    items = [
        *SCATTERED,
        reasoning("hm"),
        made_call("c1", '{"city": "Os'),
        output_of("c1", "-3 C and snow"),
        message("user", "Which weather was it?"),
    ]
    asked = local_call(*items, tools=[WEATHER, CLOCK], tool_choice="auto", max_output_tokens=16)
    assert finish_of(await sampled(OpenAIChat(local, http, None), asked)).usage.input_tokens > 20


async def test_llama_cpp_refuses_a_context_that_is_too_long(http: httpx.AsyncClient, local: ProviderConfig) -> None:
    with pytest.raises(ContextLengthExceeded):
        await sampled(OpenAIChat(local, http, None), local_call(message("user", "word " * 40_000)))
