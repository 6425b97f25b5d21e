"""Google's Gemini API: `POST /v1beta/models/{model}:streamGenerateContent?alt=sse`.

Each event of the stream is a whole GenerateContentResponse with the next parts. A finish reason may come more than once
(before a code execution's result, too): the last one counts. An error in the middle comes as a bare JSON object between
the events, without `data:`.

What the protocol has no place for: several summaries of thoughts, `phase`, `parallel_tool_calls` (the server enforces
it), names of files, an image's `detail`. Interim images of thoughts are left out, as are thoughts without a signature
on their way back, which Google does not want.

Sources: ai.google.dev/api/generate-content, /gemini-api/docs/thinking, /thought-signatures, /openai (what an effort is
in tokens), /troubleshooting; recorded streams and errors of vercel/ai (`packages/google/src/__fixtures__`) and
pydantic-ai (`tests/models/cassettes/test_google`); googleapis/js-genai issue 461 (errors in the stream);
LibreChat-AI/agents pull request 323 (which models refuse to go on with a turn of their own).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx

from activities.providers.failures import as_object, decoded, details_in, failure, message_of, seconds_of, wait_of
from activities.providers.gemini_contents import GENERATED_IMAGE, is_gemini_3, system_and_contents
from activities.providers.gemini_schema import gemini_schema, tool_settings
from activities.providers.said_in_words import format_in_words, verbosity_in_words
from activities.providers.upstream import is_event_stream, open_stream
from open_responses.config import ProviderConfig
from open_responses.contracts import Resume, SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    FinishReason,
    ProviderItem,
    ReasoningSeal,
    ReasoningSummaryDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import OpenResponsesError, ProviderRejected, ProviderStreamBroken
from open_responses.json_types import JsonObject
from open_responses.requests import JsonObjectFormat, JsonSchemaFormat
from open_responses.sealed_reasoning import mark
from open_responses.tokens import item_tokens
from open_responses.tools import AllowedTools, FunctionChoice

_FINISH: Mapping[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
# The request itself is at fault, and would be again.
_FINAL = frozenset({"MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS"})
_UNSPECIFIED = ("FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED")

# Google's own table for OpenAI's `reasoning_effort`; the two highest are the models' limits.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
_PRO_LEAST, _PRO_MOST = 128, 32_768
_LEVELS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}

_CANCELLED = 499
_SEED_BITS = 31


class Gemini:
    """Translates one turn to a streamGenerateContent request and its chunks to deltas."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        """`prefill` only where the configuration says so: the models from 3.6 on refuse it, the older ones go on."""
        return self._config.resume or "none"

    async def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        key = call.api_key or self._api_key
        own_key = call.api_key is not None
        reader = ChunkReader(self._config, own_key=own_key)

        def read_error(status: int, body: bytes, headers: Mapping[str, str]) -> OpenResponsesError:
            return _error(self._config, status, details_in(decoded(body)), wait_of(headers), own_key=own_key)

        async with open_stream(
            self._http,
            self._config,
            _path(call.model),
            body=request_body(call, self._config.name),
            headers={"x-goog-api-key": key} if key else {},
            read_error=read_error,
        ) as response:
            async for chunk in _chunks(response):
                for delta in reader.read(chunk):
                    yield delta
            for delta in reader.finish():
                yield _counted(delta, call)


def _path(model: str) -> str:
    """`tunedModels/…` and `models/…` are paths already."""
    name = quote(model if "/" in model else f"models/{model}", safe="/")
    return f"/v1beta/{name}:streamGenerateContent?alt=sse"


def _counted(delta: Delta, call: SampleCall) -> Delta:
    if isinstance(delta, Finish) and delta.usage.estimated:
        return replace(delta, usage=replace(delta.usage, input_tokens=sum(map(item_tokens, call.items))))
    return delta


# --- the request


def request_body(call: SampleCall, provider: str) -> JsonObject:
    """The upstream request. What the client did not set is not sent; `contents` is last, so that it only grows."""
    asked = call.request
    system, contents = system_and_contents(call.items, asked.instructions, provider=provider, model=call.model)
    if call.prefix:
        contents.append({"role": "model", "parts": [{"text": call.prefix}]})
    words = [verbosity_in_words(asked), format_in_words(asked) if not _has_native_format(call) else None]
    system += [{"text": said} for said in words if said]
    body: JsonObject = {}
    if system:
        body["systemInstruction"] = {"parts": system}
    body |= tool_settings(call)
    if settings := _generation_config(call):
        body["generationConfig"] = settings
    if asked.service_tier in ("flex", "priority"):
        body["serviceTier"] = asked.service_tier
    return {**body, "contents": contents}


def _generation_config(call: SampleCall) -> JsonObject:
    asked = call.request
    seed = None if asked.seed is None else asked.seed % (1 << _SEED_BITS)
    plain: JsonObject = {
        "temperature": asked.temperature,
        "topP": asked.top_p,
        "topK": asked.top_k,
        "maxOutputTokens": call.max_output_tokens,
        "stopSequences": asked.stop,
        "seed": seed,
        "presencePenalty": asked.presence_penalty,
        "frequencyPenalty": asked.frequency_penalty,
    }
    settings = {name: value for name, value in plain.items() if value is not None}
    if asked.top_logprobs or "message.output_text.logprobs" in (asked.include or []):
        settings["responseLogprobs"] = True
    if asked.top_logprobs:
        settings["logprobs"] = asked.top_logprobs
    if thinking := _thinking_config(call):
        settings["thinkingConfig"] = thinking
    return settings | _response_format(call)


def _thinking_config(call: SampleCall) -> JsonObject:
    """An effort is a level from Gemini 3 on, and a budget before. Thoughts are shown where a summary is asked for."""
    asked = call.request.reasoning
    if asked is None:
        return {}
    settings: JsonObject = {}
    if asked.effort is not None:
        settings = _level(call.model, asked.effort) if is_gemini_3(call.model) else _budget(call.model, asked.effort)
    if asked.summary is not None and settings.get("thinkingBudget") != 0:
        settings["includeThoughts"] = True
    return settings


def _level(model: str, effort: str) -> JsonObject:
    """Thinking cannot be turned off: `none` is the least that the model has."""
    name = model.rsplit("/", 1)[-1]
    if effort in ("none", "minimal"):
        return {"thinkingLevel": _least_level(name)}
    if effort == "medium" and re.match(r"gemini-3-pro", name):
        return {"thinkingLevel": "high"}
    return {"thinkingLevel": _LEVELS[effort]}


def _least_level(name: str) -> str:
    """`minimal` is refused by the Pro models, and by Flash from 3.7 on."""
    if "pro" in name.split("-") or name == "gemini-flash-latest":
        return "low"
    flash = re.match(r"gemini-(\d+)\.(\d+)-flash(?!-lite)", name)
    return "low" if flash and (int(flash[1]), int(flash[2])) >= (3, 7) else "minimal"


def _budget(model: str, effort: str) -> JsonObject:
    """Gemini 2.5 Pro cannot be kept from thinking."""
    is_pro = "pro" in model.split("-")
    if effort == "none":
        return {"thinkingBudget": _PRO_LEAST if is_pro else 0}
    return {"thinkingBudget": _PRO_MOST if is_pro and effort in ("xhigh", "max") else _BUDGETS[effort]}


def _has_native_format(call: SampleCall) -> bool:
    """Before Gemini 3 there is no JSON format beside tools; after it, none beside a forced call, which has no text."""
    return is_gemini_3(call.model) or not (call.tools or call.provider_tools)


def _response_format(call: SampleCall) -> JsonObject:
    wanted = call.request.text.format if call.request.text is not None else None
    if not _has_native_format(call) or (call.tools and _is_forced(call)):
        return {}
    if isinstance(wanted, JsonObjectFormat):
        return {"responseMimeType": "application/json"}
    if isinstance(wanted, JsonSchemaFormat):
        described = {"description": wanted.description} if wanted.description else {}
        schema = gemini_schema({**described, **wanted.schema_})
        return {"responseMimeType": "application/json", "responseJsonSchema": schema}
    return {}


def _is_forced(call: SampleCall) -> bool:
    choice = call.tool_choice
    if isinstance(choice, AllowedTools):
        return choice.mode == "required"
    return choice == "required" or isinstance(choice, FunctionChoice)


# --- errors


def _error(
    config: ProviderConfig, status: int, details: Any, retry_after: float | None, *, own_key: bool
) -> OpenResponsesError:
    """Of a google.rpc.Status: a wrong key is a 400 there, and the time to wait is among its `details`."""
    told = as_object(details)
    message = message_of(details)
    code = str(told.get("status") or "")
    about = told.get("details")
    for detail in map(as_object, about if isinstance(about, list) else []):
        if detail.get("reason") == "API_KEY_INVALID":
            status = 401
        if isinstance(detail.get("retryDelay"), str):
            retry_after = seconds_of(detail["retryDelay"])
    if status == _CANCELLED:
        # Google's own word for a request that its side gave up.
        status = 503
    if status == 429 and "credits are depleted" in message:
        code = "insufficient_quota"
    return failure(config, status, message, code=code, retry_after=retry_after, own_key=own_key)


# --- the stream


async def _chunks(response: httpx.Response) -> AsyncGenerator[JsonObject, None]:
    """The stream's objects. Without `alt=sse`, as some proxies have it, they come as one array."""
    if is_event_stream(response):
        async for text in _texts(response):
            yield _object(json.loads(text))
        return
    read = json.loads(await response.aread())
    for chunk in read if isinstance(read, list) else [read]:
        yield _object(chunk)


def _object(read: Any) -> JsonObject:
    if not isinstance(read, dict):
        raise ProviderStreamBroken("the provider sent a chunk that is not an object")
    return read


async def _texts(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The data of each event, and at the end what stands between the events: an error, without any field's name."""
    data: list[str] = []
    bare: list[str] = []
    async for line in _lines(response):
        if line.startswith("data:"):
            data.append(line.removeprefix("data:"))
        elif line and not line.startswith((":", "event:", "id:", "retry:")):
            bare.append(line)
        elif not line and data:
            yield "\n".join(data)
            data.clear()
    if bare:
        yield "\n".join(bare)


async def _lines(response: httpx.Response) -> AsyncIterator[str]:
    """Lines by LF and CRLF alone: JSON may hold the other characters that httpx takes for a line's end."""
    pieces: list[str] = []
    async for text in response.aiter_text():
        *ended, rest = text.split("\n")
        for piece in ended:
            yield "".join([*pieces, piece]).removesuffix("\r")
            pieces.clear()
        pieces.append(rest)
    if any(pieces):
        yield "".join(pieces).removesuffix("\r")


class ChunkReader:
    """Turns chunks into deltas, and remembers how the stream ended."""

    def __init__(self, config: ProviderConfig, *, own_key: bool = False) -> None:
        self._config = config
        self._own_key = own_key
        self._finish: str | None = None
        self._finish_message = ""
        self._is_blocked = False
        self._usage: JsonObject = {}
        self._model: str | None = None
        self._calls = 0
        self._characters = 0
        self._text_signature: str | None = None
        self._cited = _CitedText()

    def read(self, chunk: JsonObject) -> list[Delta]:
        """The deltas of one chunk. Raises what an `error` in the middle of the stream stands for."""
        if chunk.get("error"):
            details = chunk["error"]
            code = as_object(details).get("code")
            raise _error(self._config, code if isinstance(code, int) else 500, details, None, own_key=self._own_key)
        self._model = chunk.get("modelVersion") or self._model
        self._usage |= as_object(chunk.get("usageMetadata"))
        if as_object(chunk.get("promptFeedback")).get("blockReason") not in (None, *_UNSPECIFIED):
            self._is_blocked = True
        candidates = chunk.get("candidates") or []
        return self._candidate(as_object(candidates[0])) if candidates else []

    def finish(self) -> list[Delta]:
        """What was held back, and the end. Raises ProviderStreamBroken for a stream that ended without saying why."""
        reason: FinishReason = "content_filter"
        if not self._is_blocked:
            reason = self._reason()
        last = self._end_text() if reason in ("stop", "tool_calls") else []
        return [*last, Finish(reason, self._counted(), self._model)]

    def _reason(self) -> FinishReason:
        if self._finish is None:
            raise ProviderStreamBroken("the provider's stream ended in the middle of the answer")
        if self._finish not in _FINISH:
            kind = ProviderRejected if self._finish in _FINAL else ProviderStreamBroken
            said = f": {self._finish_message[:500]}" if self._finish_message else ""
            raise kind(f"{self._config.name} broke the answer off: {self._finish}{said}")
        reason = _FINISH[self._finish]
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _counted(self) -> Usage:
        if not self._usage:
            # Four characters are about a token.
            return Usage(output_tokens=-(-self._characters // 4), estimated=True)
        return _usage(self._usage)

    def _candidate(self, candidate: JsonObject) -> list[Delta]:
        if candidate.get("finishReason") not in (None, *_UNSPECIFIED):
            self._finish = candidate["finishReason"]
            self._finish_message = candidate.get("finishMessage") or ""
        logprobs = _logprobs(as_object(candidate.get("logprobsResult")))
        deltas: list[Delta] = []
        for part in as_object(candidate.get("content")).get("parts") or []:
            for delta in self._part(part):
                if logprobs and isinstance(delta, TextDelta):
                    delta, logprobs = replace(delta, logprobs=logprobs), None
                deltas.append(delta)
        return [*deltas, *self._cited.annotations(as_object(candidate.get("groundingMetadata")))]

    def _part(self, part: JsonObject) -> list[Delta]:
        if "functionCall" in part:
            return [*self._end_text(), *self._call(part)]
        if "executableCode" in part or "codeExecutionResult" in part:
            kind = "executable_code" if "executableCode" in part else "code_execution_result"
            return [*self._end_text(), ProviderItem({"type": kind, "part": part})]
        if "toolCall" in part or "toolResponse" in part:
            return [*self._end_text(), self._seal({"on": "part", "part": part})]
        if "inlineData" in part:
            return self._image(part)
        return self._thought(part) if part.get("thought") else self._text(part)

    def _text(self, part: JsonObject) -> list[Delta]:
        """A signature waits for the text's end: an item of its own in the middle would cut the message in two."""
        text = part.get("text") or ""
        self._cited.add(text)
        self._characters += len(text)
        if part.get("thoughtSignature") and self._cited.has_text:
            self._text_signature = part["thoughtSignature"]
        return [TextDelta(text)] if text else []

    def _thought(self, part: JsonObject) -> list[Delta]:
        text = part.get("text") or ""
        signature = part.get("thoughtSignature")
        if not text and not signature:
            return []
        self._characters += len(text)
        deltas: list[Delta] = [*self._end_text()]
        if text:
            deltas.append(ReasoningSummaryDelta(text))
        if signature:
            deltas.append(self._seal({"on": "thought", "signature": signature}))
        return deltas

    def _call(self, part: JsonObject) -> list[Delta]:
        call = as_object(part["functionCall"])
        arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
        self._characters += len(arguments)
        piece = ToolCallDelta(self._calls, arguments, call.get("id") or None, call.get("name") or None)
        self._calls += 1
        if part.get("thoughtSignature"):
            return [self._seal({"on": "call", "signature": part["thoughtSignature"]}), piece]
        return [piece]

    def _image(self, part: JsonObject) -> list[Delta]:
        """An image as OpenAI's clients know it, with what Gemini wants back beside it."""
        data = as_object(part["inlineData"])
        kind = str(data.get("mimeType") or "")
        if part.get("thought") or not kind.startswith("image/"):
            return []
        item = {
            "type": GENERATED_IMAGE,
            "result": data.get("data") or "",
            "output_format": kind.removeprefix("image/"),
            "mime_type": kind,
        }
        if part.get("thoughtSignature"):
            item["thought_signature"] = part["thoughtSignature"]
        return [*self._end_text(), ProviderItem(item)]

    def _end_text(self) -> list[Delta]:
        signature, self._text_signature = self._text_signature, None
        self._cited.end_message()
        return [self._seal({"on": "text", "signature": signature})] if signature else []

    def _seal(self, content: JsonObject) -> ReasoningSeal:
        """`on` says where it goes back: to the next `call`, the `text` before, the `thought` with this item's summary,
        or as a `part` of its own.
        """
        return ReasoningSeal(mark(self._config.name, json.dumps(content, ensure_ascii=False)))


class _CitedText:
    """The answer's text, to turn Google's places in it (bytes, of all text) into ours (characters, of one message)."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._before = 0
        self._sources: list[Any] = []
        self._given: set[tuple[int, int, str]] = set()

    @property
    def has_text(self) -> bool:
        """Whether there is an open message."""
        return bool(self._pieces)

    def add(self, text: str) -> None:
        if text:
            self._pieces.append(text)

    def end_message(self) -> None:
        if self._pieces:
            self._before += len("".join(self._pieces).encode())
            self._pieces.clear()
            self._given.clear()

    def annotations(self, metadata: JsonObject) -> list[Delta]:
        """The citations that lie within the open message, each once."""
        self._sources = metadata.get("groundingChunks") or self._sources
        supports = metadata.get("groundingSupports") or []
        message = "".join(self._pieces) if supports else ""
        found: list[Delta] = []
        for support in map(as_object, supports):
            place = self._place(as_object(support.get("segment")), message)
            if place is not None:
                found += self._citations(place, support.get("groundingChunkIndices") or [])
        return found

    def _citations(self, place: tuple[int, int], indices: Sequence[int]) -> list[Delta]:
        found: list[Delta] = []
        for index in indices:
            source = _source(self._sources[index]) if 0 <= index < len(self._sources) else None
            if source is None or (*place, source[0]) in self._given:
                continue
            self._given.add((*place, source[0]))
            citation = {"type": "url_citation", "url": source[0], "title": source[1]}
            found.append(TextAnnotation({**citation, "start_index": place[0], "end_index": place[1]}))
        return found

    def _place(self, segment: JsonObject, message: str) -> tuple[int, int] | None:
        """By its bytes where they hold the quoted text, else by the text."""
        quoted, encoded = segment.get("text") or "", message.encode()
        for base in (self._before, 0):
            start, end = (segment.get("startIndex") or 0) - base, (segment.get("endIndex") or 0) - base
            if not 0 <= start < end <= len(encoded):
                continue
            text = encoded[start:end].decode(errors="replace")
            if not quoted or quoted == text:
                begin = len(encoded[:start].decode(errors="replace"))
                return begin, begin + len(text)
        at = message.find(quoted) if quoted else -1
        return (at, at + len(quoted)) if at >= 0 else None


def _source(chunk: Any) -> tuple[str, str] | None:
    """(address, title) of a web page, a place, a picture's page or a document with an address."""
    for kind in ("web", "maps", "image", "retrievedContext"):
        source = as_object(as_object(chunk).get(kind))
        address = source.get("sourceUri") or source.get("uri")
        if address:
            return address, source.get("title") or address
    return None


def _logprobs(given: JsonObject) -> list[JsonObject] | None:
    """The specification's `LogProb` shape of a `logprobsResult`, which tells no bytes."""
    tops = given.get("topCandidates") or []
    return [
        {
            **_one_logprob(chosen),
            "top_logprobs": [_one_logprob(top) for top in tops[i].get("candidates") or []] if i < len(tops) else [],
        }
        for i, chosen in enumerate(given.get("chosenCandidates") or [])
    ] or None


def _one_logprob(given: JsonObject) -> JsonObject:
    token = given.get("token") or ""
    return {"token": token, "logprob": given.get("logProbability") or 0.0, "bytes": list(token.encode())}


def _usage(given: JsonObject) -> Usage:
    """`promptTokenCount` holds the cached ones; what built-in tools read comes on top, and thoughts beside the answer.
    Some models leave `candidatesTokenCount` out: it is what the total leaves.
    """
    read = (given.get("promptTokenCount") or 0) + (given.get("toolUsePromptTokenCount") or 0)
    thoughts = given.get("thoughtsTokenCount") or 0
    answer = given.get("candidatesTokenCount")
    if answer is None:
        answer = max(0, (given.get("totalTokenCount") or 0) - read - thoughts)
    return Usage(
        input_tokens=read,
        output_tokens=answer + thoughts,
        cached_tokens=given.get("cachedContentTokenCount") or 0,
        reasoning_tokens=thoughts,
    )
