"""Gemini's chunks to deltas.

Each event of the stream is a whole GenerateContentResponse with the next parts. A finish reason may come more than once
(before a code execution's result, too): the last one counts. An error in the middle comes as a bare JSON object between
the events, without `data:`.

Sources: ai.google.dev/api/generate-content, /gemini-api/docs/thought-signatures; recorded streams of vercel/ai
(`packages/google/src/__fixtures__`) and pydantic-ai (`tests/models/cassettes/test_google`); googleapis/js-genai issue
461 (errors in the stream).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import replace

import httpx

from activities.providers.gemini.citations import CitedText
from activities.providers.gemini.conversation import GENERATED_IMAGE
from activities.providers.gemini.error_parsing import error_in_stream
from activities.providers.shared.answer_guard import event_read
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.finish_reasons import meaning_of
from activities.providers.shared.json_objects import as_object, object_text
from activities.providers.shared.logprobs import plain_logprob
from activities.providers.shared.token_counts import TokenCounts, count_in, first_count
from activities.providers.shared.upstream import DONE, chunk_object, is_event_stream, lines, texts_of
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    FinishReason,
    ProviderItem,
    ReasoningSeal,
    ReasoningSummaryDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import ProviderRejected, ProviderStreamBroken
from open_responses.json_types import JsonObject
from open_responses.models.sealed_reasoning import mark

# The request itself is the cause, so a retry would fail again.
_FINAL = frozenset({"MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS"})
_UNSPECIFIED = ("FINISH_REASON_UNSPECIFIED", "BLOCK_REASON_UNSPECIFIED")


async def chunks(response: httpx.Response) -> AsyncGenerator[list[JsonObject], None]:
    """Yield the stream's objects. Some proxies drop `alt=sse`, and the objects then come as one array."""
    if is_event_stream(response):
        async for text in _texts(response):
            if text.strip() == DONE:
                # Gateways end each stream as OpenAI's end.
                return
            yield [chunk_object(json.loads(text))]
        return
    read = json.loads(await response.aread())
    for chunk in read if isinstance(read, list) else [read]:
        yield [chunk_object(chunk)]


async def _texts(response: httpx.Response) -> AsyncGenerator[str, None]:
    """Yield the data of each event, and at the end the text between the events, which is an error without a field
    name."""
    data: list[str] = []
    bare: list[str] = []
    async for line in lines(response):
        if line.startswith("data:"):
            data.append(line.removeprefix("data:"))
        elif line and not line.startswith((":", "event:", "id:", "retry:")):
            bare.append(line)
        elif not line and data:
            event_read(response)
            for text in texts_of("\n".join(data)):
                yield text
            data.clear()
    if bare:
        yield "\n".join(bare)


class ChunkReader:
    """Turns chunks into deltas, and remembers how the stream ended."""

    def __init__(self, call: SampleCall, failures: Failures) -> None:
        self._call = call
        self._failures = failures
        self.left_out = 0
        self._finish: str | None = None
        self._finish_message = ""
        self._is_blocked = False
        self._usage: JsonObject = {}
        self._model: str | None = None
        self._calls = 0
        self._counts = TokenCounts(call)
        self._text_signature: str | None = None
        self._cited = CitedText()

    def read(self, chunk: JsonObject) -> list[Delta]:
        """Return the deltas of one chunk. Raises the error that an `error` in the stream describes."""
        if chunk.get("error"):
            raise error_in_stream(self._failures, chunk["error"])
        self._model = chunk.get("modelVersion") or self._model
        self._count(as_object(chunk.get("usageMetadata")))
        if as_object(chunk.get("promptFeedback")).get("blockReason") not in (None, *_UNSPECIFIED):
            self._is_blocked = True
        candidates = chunk.get("candidates") or []
        return self._candidate(as_object(candidates[0])) if candidates else []

    @property
    def is_over(self) -> bool:
        return self._is_blocked

    @property
    def knows_end(self) -> bool:
        return self._is_blocked or self._finish is not None

    def finish(self) -> list[Delta]:
        """Return the deltas that were held back, and the end. Raises ProviderStreamBroken for a stream without a finish
        reason."""
        reason: FinishReason = "content_filter"
        if not self._is_blocked:
            reason = self._reason()
        last = self._end_text() if reason in ("stop", "tool_calls") else []
        return [*last, Finish(reason, self._counted(), self._model)]

    def _reason(self) -> FinishReason:
        if self._finish is None:
            raise self._failures.broken_off()
        reason = meaning_of(self._finish)
        if reason is None:
            kind = ProviderRejected if self._finish in _FINAL else ProviderStreamBroken
            why = self._failures.key.hidden_in(self._finish_message)[:500]
            said = f": {why}" if why else ""
            raise kind(f"{self._failures.config.name} broke the answer off: {self._finish}{said}")
        return "tool_calls" if reason == "stop" and self._calls else reason

    def _count(self, given: JsonObject) -> None:
        if given:
            self._usage |= {name: value for name, value in given.items() if count_in(value) is not None}
            self._call.on_usage(self._counted())

    def _counted(self) -> Usage:
        """`promptTokenCount` includes the cached tokens. The input of built-in tools is counted in addition, and
        thoughts apart from the answer. Some models omit `candidatesTokenCount`, which is then the rest of the total.
        """
        given = self._usage
        prompt, answer = count_in(given.get("promptTokenCount")), count_in(given.get("candidatesTokenCount"))
        total, thoughts = count_in(given.get("totalTokenCount")), first_count(given.get("thoughtsTokenCount"))
        by_tools = first_count(given.get("toolUsePromptTokenCount"))
        if answer is None and total is not None and prompt is not None:
            answer = max(0, total - prompt - by_tools - thoughts)
        elif prompt is None and total is not None and answer is not None:
            prompt = max(0, total - answer - by_tools - thoughts)
        return self._counts.usage(
            None if prompt is None else prompt + by_tools,
            None if answer is None else answer + thoughts,
            cached=first_count(given.get("cachedContentTokenCount")),
            reasoning=thoughts,
        )

    def _candidate(self, candidate: JsonObject) -> list[Delta]:
        finish = candidate.get("finishReason")
        if isinstance(finish, str) and finish not in _UNSPECIFIED:
            self._finish = finish
            self._finish_message = str(candidate.get("finishMessage") or "")
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
            return [*self._end_text(), *self._function_call(part)]
        if "executableCode" in part or "codeExecutionResult" in part:
            kind = "executable_code" if "executableCode" in part else "code_execution_result"
            return [*self._end_text(), ProviderItem({"type": kind, "part": part})]
        if "toolCall" in part or "toolResponse" in part:
            return [*self._end_text(), self._seal({"on": "part", "part": part})]
        if "inlineData" in part:
            return self._image(part)
        self.left_out += "text" not in part and "thoughtSignature" not in part
        return self._thought(part) if part.get("thought") else self._text(part)

    def _text(self, part: JsonObject) -> list[Delta]:
        """Return the deltas of a text. A signature is held back until the text ends, because an item for it would split
        the message."""
        text = _text_in(part)
        self._cited.add(text)
        self._counts.received += len(text)
        if part.get("thoughtSignature") and self._cited.has_text:
            self._text_signature = part["thoughtSignature"]
        return [TextDelta(text)] if text else []

    def _thought(self, part: JsonObject) -> list[Delta]:
        text = _text_in(part)
        signature = part.get("thoughtSignature")
        if not text and not signature:
            return []
        self._counts.received += len(text)
        deltas: list[Delta] = [*self._end_text()]
        if text:
            deltas.append(ReasoningSummaryDelta(text))
        if signature:
            deltas.append(self._seal({"on": "thought", "signature": signature}))
        return deltas

    def _function_call(self, part: JsonObject) -> list[Delta]:
        call = as_object(part["functionCall"])
        arguments = object_text(call.get("args"))
        self._counts.received += len(arguments)
        piece = ToolCallDelta(self._calls, arguments, call.get("id") or None, call.get("name") or None)
        self._calls += 1
        if part.get("thoughtSignature"):
            return [self._seal({"on": "call", "signature": part["thoughtSignature"]}), piece]
        return [piece]

    def _image(self, part: JsonObject) -> list[Delta]:
        """Return an image as an item of OpenAI's form, with the members that Gemini needs back."""
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
        """`on` is the place to which the signature goes back: the next `call`, the `text` before, the `thought` with
        this item's summary, or a `part` of its own.
        """
        return ReasoningSeal(mark(self._failures.config.name, json.dumps(content, ensure_ascii=False)))


def _text_in(part: JsonObject) -> str:
    text = part.get("text") or ""
    if not isinstance(text, str):
        raise TypeError("a part's text is none")
    return text


def _logprobs(given: JsonObject) -> list[JsonObject] | None:
    """Return a `logprobsResult` in the specification's `LogProb` shape. Gemini sends no bytes."""
    tops = [as_object(step).get("candidates") or [] for step in given.get("topCandidates") or []]
    return [
        {**_plain(chosen), "top_logprobs": [*map(_plain, tops[i] if i < len(tops) else [])]}
        for i, chosen in enumerate(given.get("chosenCandidates") or [])
    ] or None


def _plain(given: JsonObject) -> JsonObject:
    return plain_logprob(given.get("token"), given.get("logProbability"))
