"""Any server of OpenAI's Chat Completions API: vLLM, SGLang, llama.cpp, Groq, Together, DeepSeek, Mistral, LM Studio,
OpenRouter, xAI, z.ai, and OpenAI itself.

Wire format: OpenAI's API reference, `POST /chat/completions` with `stream: true`, and what the others add to it; what
they have otherwise than the rest is in `chat_messages.Dialect`. Sources beside those named there: groq's SDK 1.7
(`x_groq`, `reasoning`), mistralai's SDK 3.7 (content chunks, `random_seed`, `any`), Mistral's refusal of
`stream_options` (openai/openai-agents-python#442), openrouter.ai/docs (errors in the stream, `reasoning_details`, whose
pieces are merged by `index`: agno-agi/agno#5802), api-docs.deepseek.com (`insufficient_system_resource`).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from activities.providers.chat_messages import Dialect, chat_messages, dialect_of, rough_tokens, thinks
from activities.providers.failures import as_object, code_of, decoded, details_in, failure, message_of, wait_of
from activities.providers.said_in_words import format_in_words, verbosity_in_words
from activities.providers.upstream import is_event_stream, open_stream, sse_objects
from open_responses import sealed_reasoning
from open_responses.config import ProviderConfig
from open_responses.contracts import Resume, SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import InvalidRequest, OpenResponsesError, ProviderStreamBroken
from open_responses.json_types import JsonObject
from open_responses.requests import CreateResponse, JsonObjectFormat, JsonSchemaFormat
from open_responses.tools import AllowedTools, FunctionChoice, FunctionTool

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
# The server gave up: of DeepSeek, of OpenRouter and Mistral, of z.ai, of SGLang.
_GAVE_UP = ("insufficient_system_resource", "error", "network_error", "abort")
# Codes and types of errors that a stream sends without a status, by the first that is in them.
_STATUS = (
    ("rate_limit", 429),
    ("quota", 429),
    ("auth", 401),
    ("invalid_request", 400),
    ("badrequest", 400),
    ("context", 400),
    ("overloaded", 503),
)
# xAI answers 400 to a key that it does not know.
_WRONG_KEY = re.compile(r"(incorrect|invalid) api key|api key not valid", re.IGNORECASE)


class OpenAIChat:
    """Translates one turn to a chat completion and its chunks to deltas."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key
        self._dialect = dialect_of(config.base_url)
        self._resume = config.resume or self._dialect.resume

    def resume_of(self, call: SampleCall) -> Resume:
        """Not where a grammar holds, which would begin anew, nor in an answer that was thought about."""
        return "none" if _wants_json(call.request) or thinks(call) else self._resume

    async def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        key = call.api_key or self._api_key
        body = request_body(call, self._config.name, self._dialect, self._resume)
        errors = _Errors(self._config, key, own_key=call.api_key is not None)
        reader = ChunkReader(self._config.name, errors)
        async with open_stream(
            self._http,
            self._config,
            "/chat/completions",
            body=body,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            read_error=errors.of_response,
        ) as response:
            async for event, chunk in _chunks(response):
                for delta in reader.read(chunk, event):
                    yield delta
            for delta in reader.finish(lambda: rough_tokens(body)):
                yield delta


# --- the request


def request_body(call: SampleCall, provider: str, dialect: Dialect, resume: Resume) -> JsonObject:
    """The upstream request. What the client did not set is not sent."""
    asked = call.request
    messages = chat_messages(call, provider, dialect, _words(asked, dialect))
    body: JsonObject = {"model": call.model, "messages": messages, "stream": True}
    if dialect.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if call.prefix and resume == "continue_final_message":
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    if call.prefix and dialect.mistral:
        messages[-1]["prefix"] = True
    return (
        body
        | _sampling(call, dialect)
        | _extras(asked, dialect)
        | _tool_settings(call, dialect)
        | _format(asked, dialect)
    )


def _sampling(call: SampleCall, dialect: Dialect) -> JsonObject:
    asked = call.request
    if asked.top_k is not None and not dialect.top_k:
        raise InvalidRequest(
            "The route's provider has no 'top_k'; leave it out.", param="top_k", code="unsupported_parameter"
        )
    logprobs = bool(asked.top_logprobs) or "message.output_text.logprobs" in (asked.include or [])
    effort = asked.reasoning.effort if asked.reasoning is not None else None
    settings = {
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
        dialect.limit: call.max_output_tokens,
        "stop": asked.stop,
        dialect.seed: asked.seed,
        "logprobs": True if logprobs else None,
        "top_logprobs": asked.top_logprobs or None,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return given | (dialect.effort(effort) if effort is not None else {})


def _extras(asked: CreateResponse, dialect: Dialect) -> JsonObject:
    """Settings of OpenAI's own, which others may refuse: they are about cost and abuse, not about the answer."""
    settings = {
        "verbosity": asked.text.verbosity if asked.text is not None else None,
        "prompt_cache_key": asked.prompt_cache_key,
        "safety_identifier": asked.safety_identifier,
        "service_tier": asked.service_tier,
    }
    return {name: value for name, value in settings.items() if value is not None and name in dialect.extras}


def _words(asked: CreateResponse, dialect: Dialect) -> list[str]:
    said = [] if dialect.json_schema else [format_in_words(asked)]
    said += [] if "verbosity" in dialect.extras else [verbosity_in_words(asked)]
    return [text for text in said if text]


def _tool_settings(call: SampleCall, dialect: Dialect) -> JsonObject:
    if not call.tools:
        return {}
    settings: JsonObject = {"tools": [{"type": "function", "function": _function(tool)} for tool in call.tools]}
    if call.request.parallel_tool_calls is not None:
        settings["parallel_tool_calls"] = call.request.parallel_tool_calls
    choice = call.tool_choice
    if isinstance(choice, FunctionChoice):
        settings["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        # The server itself enforces a set of allowed tools: chat's own `allowed_tools` is OpenAI's alone.
        mode = choice.mode if isinstance(choice, AllowedTools) else choice
        settings["tool_choice"] = dialect.required if mode == "required" else mode
    return settings


def _function(tool: FunctionTool) -> JsonObject:
    described = tool.model_dump(mode="json", exclude_none=True, exclude={"type", "parameters"})
    return described | {"parameters": object_schema(tool.parameters)}


def object_schema(parameters: JsonObject | None) -> JsonObject:
    """A schema of an object that has `properties`, as OpenAI and many templates want it."""
    schema = parameters or {}
    if any(key in schema for key in ("properties", "$ref", "anyOf", "oneOf", "allOf")):
        return schema
    return {"type": "object", **schema, "properties": {}}


def _wants_json(asked: CreateResponse) -> bool:
    return asked.text is not None and isinstance(asked.text.format, JsonObjectFormat | JsonSchemaFormat)


def _format(asked: CreateResponse, dialect: Dialect) -> JsonObject:
    wanted = asked.text.format if asked.text is not None else None
    if isinstance(wanted, JsonObjectFormat) or (isinstance(wanted, JsonSchemaFormat) and not dialect.json_schema):
        return {"response_format": {"type": "json_object"}}
    if isinstance(wanted, JsonSchemaFormat):
        schema = wanted.model_dump(mode="json", by_alias=True, exclude={"type"}, exclude_none=True)
        return {"response_format": {"type": "json_schema", "json_schema": schema | {"schema": wanted.schema_}}}
    return {}


# --- errors


@dataclass(frozen=True, slots=True)
class _Errors:
    """The errors of one call: in a body, and in the middle of a stream."""

    config: ProviderConfig
    key: str | None
    own_key: bool

    def of_response(self, status: int, body: bytes, headers: Mapping[str, str]) -> OpenResponsesError:
        return self.mapped(status, details_in(decoded(body)), wait_of(headers))

    def of_chunk(self, details: Any) -> OpenResponsesError:
        """A chunk has no status: its code may be one, or tell."""
        code = code_of(details)
        kinds = f"{code} {as_object(details).get('type') or ''}".lower().replace("_error", "")
        named = (status for word, status in _STATUS if word in kinds)
        status = int(code) if re.fullmatch("[45][0-9][0-9]", code) else next(named, 500)
        return self.mapped(status, details, None)

    def mapped(self, status: int, details: Any, retry_after: float | None) -> OpenResponsesError:
        metadata = as_object(as_object(details).get("metadata"))
        message = message_of(details)
        if isinstance(metadata.get("raw"), str):
            # OpenRouter's own message is "Provider returned error".
            message += f": {metadata['raw']}"
        if self.key:
            message = message.replace(self.key, "…")
        if status == 400 and _WRONG_KEY.search(message):
            status = 401
        if status == 403 and "reasons" in metadata:
            # OpenRouter's moderation: not the key.
            status = 400
        return failure(
            self.config, status, message, code=code_of(details), retry_after=retry_after, own_key=self.own_key
        )


def _error_in(chunk: JsonObject, event: str) -> Any:
    """What went wrong, in each server's form; None in an ordinary chunk."""
    if chunk.get("error"):
        return chunk["error"]
    if event == "error" or chunk.get("object") == "error":
        return chunk
    return as_object(chunk.get("x_groq")).get("error") if "x_groq" in chunk else None


# --- the answer


async def _chunks(response: httpx.Response) -> AsyncGenerator[tuple[str, JsonObject], None]:
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

    def __init__(self, provider: str, errors: _Errors) -> None:
        self._errors = errors
        self._thoughts = _Thoughts(provider)
        self._calls = _Calls()
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._model: str | None = None
        self._characters = 0

    def read(self, chunk: JsonObject, event: str = "message") -> list[Delta]:
        """The deltas of one chunk. Raises what an error in the middle of the stream stands for."""
        error = _error_in(chunk, event)
        if error is not None:
            raise self._errors.of_chunk(error)
        self._model = chunk.get("model") or self._model
        choices: list[JsonObject] = chunk.get("choices") or []
        choice: JsonObject = next((choice for choice in choices if not choice.get("index")), {})
        usage = chunk.get("usage") or as_object(chunk.get("x_groq")).get("usage") or choice.get("usage")
        if usage:
            self._usage = _usage(usage)
        return self._choice(choice) if choice else []

    def finish(self, input_tokens: Callable[[], int]) -> list[Delta]:
        """The last deltas. Raises ProviderStreamBroken for a stream that ended without saying why."""
        reason = self._reason
        if reason is None:
            raise ProviderStreamBroken("the provider's stream ended in the middle of the answer")
        if reason in _GAVE_UP:
            raise self._errors.mapped(503, f"the model's server gave up ({reason})", None)
        finish = _FINISH.get(reason, "tool_calls" if self._calls.any else "stop")
        usage = self._usage or Usage(input_tokens(), max(1, self._characters // 4), estimated=True)
        return [*self._thoughts.at_end(), Finish(finish, usage, self._model)]

    def _choice(self, choice: JsonObject) -> list[Delta]:
        if choice.get("error"):
            raise self._errors.of_chunk(choice["error"])
        delta = as_object(choice.get("delta"))
        deltas: list[Delta] = self._thoughts.read(delta)
        shown: list[Delta] = []
        content = delta.get("content")
        if isinstance(content, str) and content:
            shown.append(TextDelta(content, _logprobs(choice.get("logprobs"))))
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
            if isinstance(delta, TextDelta | ReasoningDelta | RefusalDelta):
                self._characters += len(delta.text)
            elif isinstance(delta, ToolCallDelta):
                self._characters += len(delta.arguments)


class _Thoughts:
    """The reasoning of an answer, and what goes back with it: the name of its field, OpenRouter's details, Mistral's
    signature.

    It is sealed before what is said next. Details that come with the answer itself (Gemini's signatures of calls) wait
    for its end, so that they do not break its message in two.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._seal: JsonObject = {}
        self._details: list[JsonObject] = []
        self._is_open = True

    def read(self, delta: JsonObject) -> list[Delta]:
        details = [as_object(detail) for detail in delta.get("reasoning_details") or ()]
        for detail in details:
            self._merge(detail)
        said = [told for detail in details if (told := _told(detail)) is not None]
        for name in ("reasoning_content", "reasoning"):
            text = delta.get(name)
            if isinstance(text, str) and text:
                self._seal["field"] = name
                said = said or [ReasoningDelta(text)]
                break
        self._is_open = self._is_open or bool(said)
        return said

    def read_chunk(self, part: JsonObject) -> list[Delta]:
        given = part.get("thinking")
        texts = [given] if isinstance(given, str) else [as_object(piece).get("text") for piece in given or ()]
        self._seal["field"] = "content"
        if part.get("signature"):
            self._seal["signature"] = part["signature"]
        self._is_open = True
        return [ReasoningDelta(text) for text in texts if text]

    def before_output(self) -> list[Delta]:
        sealed = self.at_end() if self._is_open else []
        self._is_open = False
        return sealed

    def at_end(self) -> list[Delta]:
        kept: JsonObject = {"details": self._details} if self._details else self._seal
        if not kept:
            return []
        self._details, self._seal = [], {}
        return [ReasoningSeal(sealed_reasoning.mark(self._provider, json.dumps(kept, ensure_ascii=False)))]

    def _merge(self, detail: JsonObject) -> None:
        """Pieces of one block have its type and index; the signature may come last and alone."""
        at = detail.get("index")
        for known in reversed(self._details):
            if at is not None and (known.get("index"), known.get("type")) == (at, detail.get("type")):
                break
        else:
            self._details.append(dict(detail))
            return
        for name, value in detail.items():
            grows = name in ("text", "summary", "data") and isinstance(known.get(name), str) and isinstance(value, str)
            if grows:
                known[name] += value
            elif value is not None:
                known[name] = value


def _told(detail: JsonObject) -> Delta | None:
    if detail.get("type") == "reasoning.text" and detail.get("text"):
        return ReasoningDelta(detail["text"])
    if detail.get("type") == "reasoning.summary" and detail.get("summary"):
        return ReasoningSummaryDelta(detail["summary"])
    return None


@dataclass(slots=True)
class _Call:
    call_id: str | None = None
    name: str | None = None
    arguments: str = ""

    @property
    def is_whole(self) -> bool:
        try:
            return isinstance(json.loads(self.arguments), dict)
        except ValueError:
            return False


class _Calls:
    """Which call a piece belongs to. Servers leave out the index or the id, repeat the name in each piece, or change
    the id on the way; several whole calls may have one index."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, int] = {}

    @property
    def any(self) -> bool:
        return bool(self._calls)

    def read(self, pieces: list[Any]) -> list[ToolCallDelta]:
        return [self._piece(as_object(piece), first=position == 0) for position, piece in enumerate(pieces)]

    def _piece(self, piece: JsonObject, *, first: bool) -> ToolCallDelta:
        function = as_object(piece.get("function"))
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
        given = _Call(piece.get("id") or None, function.get("name") or None, arguments)
        index = piece.get("index")
        at = self._by_index.get(index) if isinstance(index, int) else self._without_index(given, first)
        if at is None or (isinstance(index, int) and _is_another(self._calls[at], given)):
            at = len(self._calls)
            self._calls.append(_Call())
        if isinstance(index, int):
            self._by_index[index] = at
        call = self._calls[at]
        delta = ToolCallDelta(at, arguments, None if call.call_id else given.call_id, None if call.name else given.name)
        call.call_id, call.name = call.call_id or given.call_id, call.name or given.name
        call.arguments += arguments
        return delta

    def _without_index(self, given: _Call, first: bool) -> int | None:
        for at, call in enumerate(self._calls):
            if given.call_id is not None and call.call_id == given.call_id:
                return at
        if not self._calls:
            return None
        last = self._calls[-1]
        begins = given.name is not None and (not first or given.name != last.name or _adds(last, given))
        return None if begins else len(self._calls) - 1


def _is_another(call: _Call, given: _Call) -> bool:
    """Whether a piece with the index of a call begins another one."""
    if given.name is None or call.name is None or (given.call_id is not None and given.call_id == call.call_id):
        return False
    return (given.call_id is not None and given.name != call.name) or _adds(call, given)


def _adds(call: _Call, given: _Call) -> bool:
    """Arguments after those that are whole."""
    return bool(given.arguments) and call.is_whole


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


def _logprobs(given: Any) -> list[JsonObject] | None:
    tokens = as_object(given).get("content") if given else None
    return logprobs_of(tokens) if tokens else None


def logprobs_of(tokens: list[JsonObject]) -> list[JsonObject]:
    """The specification's `LogProb` shape: `bytes` is required there and optional here."""
    return [
        {**_one_logprob(token), "top_logprobs": [_one_logprob(top) for top in token.get("top_logprobs") or []]}
        for token in tokens
    ]


def _one_logprob(token: JsonObject) -> JsonObject:
    raw = token.get("bytes")
    return {
        "token": token["token"],
        "logprob": token["logprob"],
        "bytes": list(token["token"].encode(errors="replace")) if raw is None else raw,
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
