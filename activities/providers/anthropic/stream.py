"""Anthropic's events to deltas.

Sources: platform.claude.com/docs (streaming), the types of Anthropic's Python SDK 2.14.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import httpx

from activities.providers.anthropic.conversation import BLOCK_ID
from activities.providers.anthropic.error_parsing import error_in_stream
from activities.providers.anthropic.models import Model
from activities.providers.shared.error_mapping import Failures, details_in
from activities.providers.shared.estimates import estimated_usage
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.upstream import is_event_stream, sse_objects
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    FinishReason,
    ProviderItem,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from open_responses.schema.items import PROVIDER_ITEM_TYPES

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
}


async def events(response: httpx.Response) -> AsyncGenerator[JsonObject, None]:
    """The stream's events; a server that does not stream sends its whole message, which is read as one."""
    if is_event_stream(response):
        async for _, event in sse_objects(response):
            yield event
        return
    for event in _events_of(json.loads(await response.aread())):
        yield event


def _events_of(message: Any) -> Iterator[JsonObject]:
    if not isinstance(message, dict) or "content" not in message:
        yield {"type": "error", "error": details_in(message)}
        return
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": message}
    yield {"type": "message_stop"}


@dataclass(slots=True)
class _Block:
    """A content block that is still open. `pieces` are of its thinking or its input's JSON."""

    index: int
    kind: str
    start: JsonObject
    pieces: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)
    citations: list[JsonObject] = field(default_factory=list)
    begins_at: int = 0


class StreamReader:
    """Turns events into deltas, and remembers how the stream ended."""

    def __init__(self, call: SampleCall, failures: Failures) -> None:
        self._call = call
        self._failures = failures
        self._summarizes = Model.named(call.model).summarizes
        self._blocks: dict[int, _Block] = {}
        self._usage: JsonObject = {}
        self._reason: FinishReason | None = None
        self._is_over = False
        self._refusal = ""
        self._model: str | None = None
        self._received = 0
        # Of the message that is open: where citations point to.
        prefix = call.prefix or ""
        self._length = len(prefix)
        self._repeated = prefix[len(prefix.rstrip()) :]
        self._repeated_at = 0

    def read(self, event: JsonObject) -> list[Delta]:
        """The deltas of one event. Raises what an `error` in the middle of the stream stands for."""
        match event.get("type"):
            case "message_start":
                message = as_object(event.get("message"))
                self._model = message.get("model") or self._model
                self._count(message)
            case "content_block_start":
                return self._start(event.get("index", 0), as_object(event.get("content_block")))
            case "content_block_delta":
                block = self._blocks.get(event.get("index", 0))
                return self._more(block, as_object(event.get("delta"))) if block is not None else []
            case "content_block_stop":
                block = self._blocks.pop(event.get("index", 0), None)
                return self._stop(block) if block is not None else []
            case "message_delta":
                self._count(event)
                self._end_of(as_object(event.get("delta")))
            case "message_stop":
                self._is_over = True
            case "error":
                raise error_in_stream(self._failures, event.get("error"))
        return []

    def finish(self) -> list[Delta]:
        """The last deltas. Raises ProviderStreamBroken for a stream that ended without saying so, and why."""
        if not self._is_over or self._reason is None:
            raise self._failures.broken_off()
        refusal: list[Delta] = [RefusalDelta(self._refusal)] if self._refusal else []
        return [*refusal, Finish(self._reason, self._total(), self._model)]

    def _end_of(self, delta: JsonObject) -> None:
        if delta.get("stop_reason"):
            self._reason = _FINISH.get(delta["stop_reason"], "stop")
        if self._reason == "content_filter":
            self._refusal = as_object(delta.get("stop_details")).get("explanation") or ""

    def _start(self, index: int, start: JsonObject) -> list[Delta]:
        block = self._blocks[index] = _Block(index, start.get("type", ""), start, begins_at=self._length)
        match block.kind:
            case "text":
                block.citations += start.get("citations") or []
                return self._text(start.get("text") or "")
            case "thinking":
                block.signature = [start.get("signature") or ""]
                return self._thought(block, start.get("thinking") or "")
            case "tool_use":
                self._length = 0
                return [ToolCallDelta(index, call_id=start.get("id"), name=start.get("name"))]
        return []

    def _more(self, block: _Block, delta: JsonObject) -> list[Delta]:
        match delta.get("type"):
            case "text_delta":
                return self._text(delta.get("text") or "")
            case "thinking_delta":
                return self._thought(block, delta.get("thinking") or "")
            case "signature_delta":
                block.signature.append(delta.get("signature") or "")
            case "citations_delta":
                block.citations.append(as_object(delta.get("citation")))
            case "input_json_delta":
                return self._input(block, delta.get("partial_json") or "")
        return []

    def _text(self, text: str) -> list[Delta]:
        """Without the blanks that the prefix ended in, which the API does not take and the model says again."""
        if text and self._repeated_at < len(self._repeated):
            expected = self._repeated[self._repeated_at : self._repeated_at + len(text)]
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, expected, strict=False)))
            self._repeated_at = self._repeated_at + same if same == len(expected) else len(self._repeated)
            text = text[same:]
        if not text:
            return []
        self._received += len(text)
        self._length += len(text)
        return [TextDelta(text)]

    def _thought(self, block: _Block, text: str) -> list[Delta]:
        if not text:
            return []
        block.pieces.append(text)
        self._received += len(text)
        self._length = 0
        return [ReasoningSummaryDelta(text) if self._summarizes else ReasoningDelta(text)]

    def _input(self, block: _Block, piece: str) -> list[Delta]:
        if not piece:
            return []
        block.pieces.append(piece)
        self._received += len(piece)
        return [ToolCallDelta(block.index, arguments=piece)] if block.kind == "tool_use" else []

    def _stop(self, block: _Block) -> list[Delta]:
        match block.kind:
            case "text":
                return [
                    TextAnnotation(cited) for citation in block.citations if (cited := self._cited(block, citation))
                ]
            case "tool_use" if not block.pieces:
                whole = json.dumps(block.start.get("input") or {}, ensure_ascii=False)
                return [ToolCallDelta(block.index, arguments=whole)]
            case "thinking":
                thinking, signature = "".join(block.pieces), "".join(block.signature)
                return self._seal({"type": "thinking", "thinking": thinking, "signature": signature})
            case "redacted_thinking":
                return self._seal({"type": "redacted_thinking", "data": block.start.get("data") or ""})
            case kind if kind in PROVIDER_ITEM_TYPES["anthropic"]:
                self._length = 0
                return [ProviderItem(_provider_item(block))]
        return []

    def _seal(self, block: JsonObject) -> list[Delta]:
        self._length = 0
        content = json.dumps(block, ensure_ascii=False, separators=(",", ":"))
        return [ReasoningSeal(sealed_reasoning.mark(self._failures.config.name, content))]

    def _cited(self, block: _Block, citation: JsonObject) -> JsonObject | None:
        """A citation of a page of the web; those of documents have no address."""
        url = citation.get("url") or citation.get("source") or ""
        if not url.startswith(("http://", "https://")):
            return None
        return {
            "type": "url_citation",
            "url": url,
            "title": citation.get("title") or "",
            "start_index": block.begins_at,
            "end_index": self._length,
        }

    def _count(self, event: JsonObject) -> None:
        """Counts are cumulative, and some servers tell the input at the start, others at the end: the highest holds."""
        given = as_object(event.get("usage"))
        for name, value in {**given, **as_object(given.get("output_tokens_details"))}.items():
            if isinstance(value, int):
                self._usage[name] = max(value, self._usage.get(name, 0))
        if given and self._is_counted:
            self._call.on_usage(self._total())

    @property
    def _is_counted(self) -> bool:
        return bool(self._usage.get("output_tokens") or self._usage.get("input_tokens"))

    def _total(self) -> Usage:
        counted = self._usage
        if not self._is_counted:
            return estimated_usage(self._call, self._received)
        cached, written = counted.get("cache_read_input_tokens", 0), counted.get("cache_creation_input_tokens", 0)
        return Usage(
            input_tokens=counted.get("input_tokens", 0) + cached + written,
            output_tokens=counted.get("output_tokens", 0),
            cached_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=counted.get("thinking_tokens", 0),
        )


def _provider_item(block: _Block) -> JsonObject:
    """The block with its own members; its `id` under another name."""
    item = {key: value for key, value in block.start.items() if key != "id"}
    if "id" in block.start:
        item[BLOCK_ID] = block.start["id"]
    if block.pieces:
        item["input"] = json.loads("".join(block.pieces))
    return item
