"""A chat completion's chunks to deltas.

Sources: OpenAI's API reference, `POST /chat/completions`, and what others add to it: groq's SDK 1.7 (`x_groq`),
mistralai's SDK 3.7 (content chunks), openrouter.ai/docs (errors in the stream).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import httpx

from activities.providers.openai_chat.call_fragments import ToolCalls
from activities.providers.openai_chat.error_parsing import GAVE_UP, error_in, error_of_chunk
from activities.providers.openai_chat.thoughts import Thoughts
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.estimates import estimated_usage
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.logprobs import logprobs_of
from activities.providers.shared.upstream import is_event_stream, sse_objects
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import ProviderStreamBroken
from open_responses.json_types import JsonObject

_FINISH: Mapping[str, FinishReason] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "sensitive": "content_filter",
}


async def chunks(response: httpx.Response) -> AsyncGenerator[tuple[str, JsonObject], None]:
    """The stream's events; a server that does not stream sends its whole answer as one."""
    if is_event_stream(response):
        async for event in sse_objects(response):
            yield event
        return
    body = json.loads(await response.aread())
    if not isinstance(body, dict):
        raise ProviderStreamBroken("the provider sent an answer that is not an object")
    for choice in body.get("choices") or []:
        choice["delta"] = choice.pop("message", None) or {}
    yield "message", body


class ChunkReader:
    """Turns chunks into deltas, and remembers how the stream ended."""

    def __init__(self, call: SampleCall, failures: Failures) -> None:
        self._asked = call
        self._failures = failures
        self._thoughts = Thoughts(failures.config.name)
        self._calls = ToolCalls()
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._received = 0

    def read(self, chunk: JsonObject, event: str = "message") -> list[Delta]:
        """The deltas of one chunk. Raises what an error in the middle of the stream stands for."""
        error = error_in(chunk, event)
        if error is not None:
            raise error_of_chunk(self._failures, error)
        self._model = chunk.get("model") or self._model
        choices: list[JsonObject] = chunk.get("choices") or []
        choice: JsonObject = next((choice for choice in choices if not choice.get("index")), {})
        usage = chunk.get("usage") or as_object(chunk.get("x_groq")).get("usage") or choice.get("usage")
        if usage:
            self._usage = _usage(usage)
            self._asked.on_usage(self._usage)
        return self._choice(choice) if choice else []

    def finish(self) -> list[Delta]:
        """The last deltas. Raises ProviderStreamBroken for a stream that ended without saying why."""
        reason = self._reason
        if reason is None:
            raise self._failures.broken_off()
        if reason in GAVE_UP:
            raise self._failures.of(503, f"the model's server gave up ({reason})")
        finish = _FINISH.get(reason, "tool_calls" if self._calls.any else "stop")
        usage = self._usage or estimated_usage(self._asked, self._received)
        return [*self._thoughts.at_end(), Finish(finish, usage, self._model)]

    def _choice(self, choice: JsonObject) -> list[Delta]:
        if choice.get("error"):
            raise error_of_chunk(self._failures, choice["error"])
        delta = as_object(choice.get("delta"))
        deltas: list[Delta] = self._thoughts.read(delta)
        shown: list[Delta] = []
        content = delta.get("content")
        if isinstance(content, str) and content:
            shown.append(TextDelta(content, logprobs_of(as_object(choice.get("logprobs")).get("content"))))
        elif isinstance(content, list):
            self._read_parts(content, deltas, shown)
        shown += self._rest(delta)
        if shown:
            deltas += self._thoughts.before_output()
        deltas += shown
        self._reason = choice.get("finish_reason") or self._reason
        self._count(deltas)
        return deltas

    def _rest(self, delta: JsonObject) -> list[Delta]:
        rest: list[Delta] = [TextAnnotation(citation) for citation in _citations(delta.get("annotations"))]
        if delta.get("refusal"):
            rest.append(RefusalDelta(delta["refusal"]))
        if delta.get("tool_calls"):
            rest += self._calls.read(delta["tool_calls"])
        if delta.get("function_call"):
            rest += self._calls.read([{"index": 0, "function": delta["function_call"]}])
        return rest

    def _read_parts(self, parts: list[Any], deltas: list[Delta], shown: list[Delta]) -> None:
        """Mistral's chunks: thinking comes before what is said."""
        for part in map(as_object, parts):
            if part.get("type") == "thinking":
                deltas += self._thoughts.read_chunk(part)
            elif part.get("type") == "text" and part.get("text"):
                shown.append(TextDelta(part["text"]))

    def _count(self, deltas: list[Delta]) -> None:
        for delta in deltas:
            if isinstance(delta, TextDelta | ReasoningDelta | ReasoningSummaryDelta | RefusalDelta):
                self._received += len(delta.text)
            elif isinstance(delta, ToolCallDelta):
                self._received += len(delta.arguments)


def _citations(given: Any) -> list[JsonObject]:
    """The specification's `url_citation`: OpenAI's and OpenRouter's have its members one level down."""
    found = [as_object(annotation) for annotation in given or ()]
    return [_citation(as_object(one.get("url_citation"))) for one in found if one.get("type") == "url_citation"]


def _citation(given: JsonObject) -> JsonObject:
    return {
        "type": "url_citation",
        "url": given.get("url") or "",
        "title": given.get("title") or "",
        "start_index": given.get("start_index") or 0,
        "end_index": given.get("end_index") or 0,
    }


def _usage(given: JsonObject) -> Usage:
    """DeepSeek counts what it read from its cache as `prompt_cache_hit_tokens`, Moonshot as `cached_tokens`; xAI's
    completion is without the reasoning, which shows in the total alone."""
    prompt, completion = given.get("prompt_tokens") or 0, given.get("completion_tokens") or 0
    read, written = as_object(given.get("prompt_tokens_details")), as_object(given.get("completion_tokens_details"))
    reasoning = written.get("reasoning_tokens") or given.get("reasoning_tokens") or 0
    if reasoning and given.get("total_tokens") == prompt + completion + reasoning:
        completion += reasoning
    cached = read.get("cached_tokens") or given.get("prompt_cache_hit_tokens") or given.get("cached_tokens") or 0
    return Usage(prompt, completion, cached, read.get("cache_write_tokens") or 0, reasoning)
