"""Any server of OpenAI's Chat Completions API: vLLM, SGLang, llama.cpp, Groq, Together, DeepSeek, Mistral, LM Studio.

Wire format: OpenAI's API reference, `POST /chat/completions` with `stream: true`, and what the others add to it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import httpx_sse

from activities.providers.chat_errors import error_from_body, error_from_response, transport_errors
from activities.providers.chat_messages import chat_messages
from open_responses.config import ProviderConfig
from open_responses.contracts import Resume, SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import ProviderStreamBroken
from open_responses.json_types import JsonObject
from open_responses.tools import AllowedTools, FunctionChoice

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_CONNECT_SECONDS = 10.0


class OpenAIChat:
    """Translates one turn to a chat completion and its chunks to deltas."""

    resume: Resume

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self.resume = config.resume or "prefill"
        self._config = config
        self._http = http
        self._url = config.base_url.rstrip("/") + "/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = httpx.Timeout(config.timeout_seconds, connect=_CONNECT_SECONDS)

    async def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        body = request_body(call, self.resume)
        with transport_errors(self._config):
            async with self._http.stream(
                "POST", self._url, json=body, headers=self._headers, timeout=self._timeout
            ) as response:
                if response.status_code != 200:
                    raise error_from_response(response, await response.aread(), self._config)
                reader = ChunkReader(self._config)
                async for chunk in _chunks(response):
                    for delta in reader.read(chunk):
                        yield delta
                yield reader.finish()


def request_body(call: SampleCall, resume: Resume) -> JsonObject:
    """The upstream request. What the client did not set is not sent."""
    asked = call.request
    messages = chat_messages(call.items, asked.instructions)
    body: JsonObject = {
        "model": call.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if call.prefix:
        messages.append({"role": "assistant", "content": call.prefix})
        if resume == "continue_final_message":
            body |= {"continue_final_message": True, "add_generation_prompt": False}
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        value = getattr(asked, name)
        if value is not None:
            body[name] = value
    if call.max_output_tokens is not None:
        body["max_tokens"] = call.max_output_tokens
    if asked.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": asked.top_logprobs}
    if asked.reasoning is not None and asked.reasoning.effort is not None:
        body["reasoning_effort"] = asked.reasoning.effort
    return body | _tool_settings(call) | _response_format(call)


def _tool_settings(call: SampleCall) -> JsonObject:
    if not call.tools:
        return {}
    settings: JsonObject = {
        "tools": [
            {"type": "function", "function": tool.model_dump(mode="json", exclude_none=True, exclude={"type"})}
            for tool in call.tools
        ]
    }
    if call.request.parallel_tool_calls is not None:
        settings["parallel_tool_calls"] = call.request.parallel_tool_calls
    choice = call.tool_choice
    if isinstance(choice, FunctionChoice):
        settings["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif isinstance(choice, AllowedTools):
        # The server itself enforces the set: chat's own `allowed_tools` is OpenAI's alone.
        settings["tool_choice"] = choice.mode
    elif choice is not None:
        settings["tool_choice"] = choice
    return settings


def _response_format(call: SampleCall) -> JsonObject:
    text = call.request.text
    wanted = None if text is None or text.format is None else text.format.model_dump(mode="json", by_alias=True)
    if wanted is None or wanted["type"] == "text":
        return {}
    if wanted["type"] == "json_object":
        return {"response_format": {"type": "json_object"}}
    schema = {key: value for key, value in wanted.items() if key != "type" and value is not None}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


async def _chunks(response: httpx.Response) -> AsyncGenerator[JsonObject, None]:
    """The stream's JSON objects, up to `[DONE]` or its end."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        body = json.loads(await response.aread())
        for choice in body.get("choices") or []:
            choice["delta"] = choice.pop("message", None) or {}
        yield body
        return
    async for event in httpx_sse.EventSource(response).aiter_sse():
        if event.data == "[DONE]":
            return
        if not event.data:
            continue
        chunk = json.loads(event.data)
        if not isinstance(chunk, dict):
            raise ProviderStreamBroken("the provider sent a chunk that is not an object")
        yield chunk


class ChunkReader:
    """Turns chunks into deltas, and remembers how the stream ended."""

    def __init__(self, config: ProviderConfig) -> None:
        self._config = config
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._pieces = 0

    def read(self, chunk: JsonObject) -> list[Delta]:
        """The deltas of one chunk. Raises what an `error` in the middle of the stream stands for."""
        if chunk.get("error"):
            raise error_from_body(chunk["error"], self._config)
        self._model = chunk.get("model") or self._model
        if chunk.get("usage"):
            self._usage = _usage(chunk["usage"])
        choices = chunk.get("choices") or []
        return self._choice(choices[0]) if choices else []

    def finish(self) -> Finish:
        """Raises ProviderStreamBroken for a stream that ended without saying why."""
        if self._reason is None:
            raise ProviderStreamBroken("the provider's stream ended in the middle of the answer")
        usage = self._usage or Usage(output_tokens=self._pieces, estimated=True)
        return Finish(self._reason, usage, self._model)

    def _choice(self, choice: JsonObject) -> list[Delta]:
        delta = choice.get("delta") or {}
        deltas: list[Delta] = []
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if isinstance(reasoning, str) and reasoning:
            deltas.append(ReasoningDelta(reasoning))
        if delta.get("content"):
            deltas.append(TextDelta(delta["content"], _logprobs(choice.get("logprobs"))))
        if delta.get("refusal"):
            deltas.append(RefusalDelta(delta["refusal"]))
        for position, tool_call in enumerate(delta.get("tool_calls") or []):
            deltas.append(_tool_call(tool_call, position))
        if choice.get("finish_reason"):
            self._reason = _FINISH.get(choice["finish_reason"], "stop")
        self._pieces += len(deltas)
        return deltas


def _tool_call(call: JsonObject, position: int) -> ToolCallDelta:
    function: JsonObject = call.get("function") or {}
    arguments = function.get("arguments") or ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    index = call.get("index")
    return ToolCallDelta(
        index=position if index is None else index,
        arguments=arguments,
        call_id=call.get("id") or None,
        name=function.get("name") or None,
    )


def _logprobs(given: Any) -> list[JsonObject] | None:
    """The specification's `LogProb` shape: `bytes` is required there and optional here."""
    if not given or not given.get("content"):
        return None
    return [
        {**_one_logprob(token), "top_logprobs": [_one_logprob(top) for top in token.get("top_logprobs") or []]}
        for token in given["content"]
    ]


def _one_logprob(token: JsonObject) -> JsonObject:
    raw = token.get("bytes")
    return {
        "token": token["token"],
        "logprob": token["logprob"],
        "bytes": list(token["token"].encode()) if raw is None else raw,
    }


def _usage(given: JsonObject) -> Usage:
    prompt_details: JsonObject = given.get("prompt_tokens_details") or {}
    completion_details: JsonObject = given.get("completion_tokens_details") or {}
    return Usage(
        input_tokens=given.get("prompt_tokens") or 0,
        output_tokens=given.get("completion_tokens") or 0,
        cached_tokens=prompt_details.get("cached_tokens") or given.get("prompt_cache_hit_tokens") or 0,
        reasoning_tokens=completion_details.get("reasoning_tokens") or 0,
    )
