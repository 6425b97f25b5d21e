"""The chunks of servers with OpenAI's Chat Completions API, and calls that are sampled from them.

Shapes: OpenAI's API reference; groq's SDK 1.7 and mistralai's 3.7; api-docs.deepseek.com; openrouter.ai/docs. The words
are ours.
"""

from __future__ import annotations

import json
from typing import Any

import httpx

from activities.providers.openai_chat import OpenAIChat
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta, ToolCallDelta
from open_responses.errors import OpenResponsesError
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from tests.support.provider_wire import Answer, Wire, call, failure_of, made_call, output_of, sampled, sse

NAME = "openai-chat"
HOSTS = {
    "openai": "https://api.openai.com/v1",
    "azure": "https://me.openai.azure.com/openai/v1",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com",
    "z.ai": "https://api.z.ai/api/paas/v4",
    "groq": "https://api.groq.com/openai/v1",
    "openrouter": "https://openrouter.ai/api/v1",
    "xai": "https://api.x.ai/v1",
    "together": "https://api.together.xyz/v1",
}


class ToWire(httpx.AsyncHTTPTransport):
    """Leads every host to the wire: a dialect goes by the host's name."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


def chunk(delta: JsonObject | None = None, finish: str | None = None, **more: Any) -> JsonObject:
    choice: JsonObject = {"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1764000000, "model": "model-1"}
    return {**head, "choices": [choice], **more}


def text(content: Any) -> JsonObject:
    return chunk({"content": content})


def tools(*pieces: JsonObject) -> JsonObject:
    return chunk({"tool_calls": list(pieces)})


def piece(arguments: Any = None, name: str | None = None, **more: Any) -> JsonObject:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"type": "function", "function": function, **more}


USED = chunk(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})
END = (chunk(finish="stop"), USED)
OK = sse(text("ok"), *END, done=True)


async def asked_of(asked: SampleCall, host: str | None = None, **settings: Any) -> JsonObject:
    """The request that the call becomes, for a server of that name, or for any."""
    async with Wire(OK) as wire:
        config = wire.provider(NAME, path="/v1", **settings)
        if host is not None:
            config = config.model_copy(update={"base_url": HOSTS[host]})
        async with httpx.AsyncClient(transport=ToWire(wire.port)) as http:
            await sampled(OpenAIChat(config, http, None), asked)
        assert wire.requests[0].path.endswith("/chat/completions")
        return wire.requests[0].json


async def answered(http: httpx.AsyncClient, *chunks: JsonObject, done: bool = True) -> list[Delta]:
    async with Wire(sse(*chunks, done=done)) as wire:
        return await sampled(OpenAIChat(wire.provider(NAME), http, None), call())


async def failed(http: httpx.AsyncClient, answer: Answer, **request: Any) -> OpenResponsesError:
    async with Wire(answer) as wire:
        config = wire.provider(NAME, timeout_seconds=0.2, api_key_env="THE_KEY")
        return await failure_of(OpenAIChat(config, http, "hush-hush"), call(**request))


def calls_of(deltas: list[Delta]) -> list[tuple[str | None, str | None, str]]:
    """(id, name, arguments) of each call."""
    found: dict[int, tuple[str | None, str | None, str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            call_id, name, arguments = found.get(delta.index, (None, None, ""))
            assert not (name and delta.name)
            found[delta.index] = (call_id or delta.call_id, name or delta.name, arguments + delta.arguments)
    return list(found.values())


def message(role: str, content: Any) -> JsonObject:
    return {"type": "message", "role": role, "content": content}


def reasoning(said: str, seal: Any = None, provider: str = NAME) -> JsonObject:
    sealed = None if seal is None else sealed_reasoning.mark(provider, json.dumps(seal))
    content = [{"type": "reasoning_text", "text": said}] if said else []
    return {"type": "reasoning", "summary": [], "content": content, "encrypted_content": sealed}


SCATTERED = [
    message("system", "s1"),
    message("developer", "s2"),
    message("user", "u1"),
    message("user", [{"type": "input_text", "text": "u2"}, {"type": "input_text", "text": "!"}]),
    message("assistant", "a1"),
    message("assistant", [{"type": "output_text", "text": "a2"}, {"type": "refusal", "refusal": " no"}]),
    message("developer", "s3"),
    message("user", "u3"),
]


def turns(*thoughts: JsonObject) -> list[JsonObject]:
    looked = [message("user", "a"), *thoughts, made_call("c1"), output_of("c1", "b")]
    return [*looked, message("assistant", "c"), message("user", "d")]
