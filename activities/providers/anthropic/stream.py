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
from activities.providers.shared.finish_reasons import meaning_of
from activities.providers.shared.json_objects import as_object, object_text
from activities.providers.shared.token_counts import TokenCounts, count_in
from activities.providers.shared.upstream import DONE, is_event_stream, sse_objects
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

# The kind of block that a delta belongs to, for one whose block was not announced.
_KINDS = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
}


async def events(response: httpx.Response) -> AsyncGenerator[list[JsonObject], None]:
    """Yield the stream's events. A server that does not stream sends its whole message, which is read as one event."""
    if is_event_stream(response):
        async for found in sse_objects(response):
            # Gateways end each stream as OpenAI's end.
            yield [{"type": "message_stop"} if name == DONE else event for name, event in found]
        return
    for event in _events_of(json.loads(await response.aread())):
        yield [event]


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
    """A content block that is still open. `pieces` are of its thinking or its input's JSON.

    `index` is the vendor's; None where it sends none. `call` is the number of the call that the block is.
    """

    index: int | None
    kind: str
    start: JsonObject
    pieces: list[str] = field(default_factory=list)
    signature: list[str] = field(default_factory=list)
    citations: list[JsonObject] = field(default_factory=list)
    begins_at: int = 0
    call: int = 0


class StreamReader:
    """Turns events into deltas, and remembers how the stream ended."""

    def __init__(self, call: SampleCall, failures: Failures) -> None:
        self._call = call
        self._failures = failures
        self._summarizes = Model.named(call.model).summarizes
        self._blocks: list[_Block] = []
        self._calls = 0
        self._usage: dict[str, int] = {}
        self._reason: FinishReason | None = None
        self.is_over = False
        self.left_out = 0
        self._refusal = ""
        self._model: str | None = None
        self._counts = TokenCounts(call)
        self._has_content = False
        # The length of the open message, to which positions of citations refer.
        prefix = call.prefix or ""
        self._length = len(prefix)
        self._repeated = prefix[len(prefix.rstrip()) :]
        self._repeated_at = 0

    def read(self, event: JsonObject) -> list[Delta]:
        """Return the deltas of one event. Raises the error that an `error` event describes."""
        match event.get("type"):
            case "message_start":
                message = as_object(event.get("message"))
                self._model = message.get("model") or self._model
                self._count(message)
            case "content_block_start":
                return self._start(_index(event), as_object(event.get("content_block")))
            case "content_block_delta":
                return self._delta(_index(event), as_object(event.get("delta")))
            case "content_block_stop":
                block = self._block(_index(event))
                return self._stop(block) if block is not None else []
            case "message_delta":
                self._count(event)
                self._end_of(as_object(event.get("delta")))
            case "message_stop":
                self.is_over = True
            case "error":
                raise error_in_stream(self._failures, event.get("error"))
        return []

    @property
    def knows_end(self) -> bool:
        return self.is_over or self._reason is not None

    def finish(self) -> list[Delta]:
        """The last deltas. Raises ProviderStreamBroken for a stream that did not say that, or why, the answer ended."""
        last = self._stop_all()
        reason = self._reason
        if reason is None and self.is_over and self._has_content:
            reason = "tool_calls" if self._calls else "stop"
        if reason is None:
            raise self._failures.broken_off()
        if self._refusal:
            last.append(RefusalDelta(self._refusal))
        return [*last, Finish(reason, self._total(), self._model)]

    def _end_of(self, delta: JsonObject) -> None:
        word = delta.get("stop_reason")
        if word:
            self._reason = "pause" if word == "pause_turn" else meaning_of(word) or "stop"
        if self._reason == "content_filter":
            self._refusal = as_object(delta.get("stop_details")).get("explanation") or ""

    def _block(self, index: int | None) -> _Block | None:
        """The open block with this index; without an index, the one that was opened last."""
        found = [block for block in self._blocks if index is None or block.index == index]
        return found[-1] if found else None

    def _delta(self, index: int | None, delta: JsonObject) -> list[Delta]:
        """More of a block; the beginning of another one where its start was not sent."""
        block = self._block(index)
        kind = _KINDS.get(str(delta.get("type")))
        if kind is None or (block is not None and block.kind == kind):
            self.left_out += block is None
            return self._more(block, delta) if block is not None else []
        started = self._start(index, {"type": kind})
        return [*started, *self._more(self._blocks[-1], delta)]

    def _stop_all(self) -> list[Delta]:
        return [delta for block in list(self._blocks) for delta in self._stop(block)]

    def _start(self, index: int | None, start: JsonObject) -> list[Delta]:
        """Begin a block. It ends those whose end was not sent: texts, thoughts, and one of its index."""
        ended = [
            delta
            for block in list(self._blocks)
            if block.kind in ("text", "thinking") or index is None or block.index == index
            for delta in self._stop(block)
        ]
        kind = str(start.get("type") or "")
        block = _Block(index, kind, start, begins_at=self._length, call=self._calls)
        self._blocks.append(block)
        return [*ended, *self._begin(block, start)]

    def _begin(self, block: _Block, start: JsonObject) -> list[Delta]:
        match block.kind:
            case "text":
                block.citations += start.get("citations") or []
                return self._text(start.get("text") or "")
            case "thinking":
                block.signature = [start.get("signature") or ""]
                return self._thought(block, start.get("thinking") or "")
            case "tool_use":
                self._length = 0
                self._calls += 1
                self._has_content = True
                return [ToolCallDelta(block.call, call_id=start.get("id"), name=start.get("name"))]
        self.left_out += block.kind != "redacted_thinking" and block.kind not in PROVIDER_ITEM_TYPES["anthropic"]
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
        """Return the text without the blanks at the end of the prefix: the API rejects them there, and the model
        repeats them."""
        if text and self._repeated_at < len(self._repeated):
            expected = self._repeated[self._repeated_at : self._repeated_at + len(text)]
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(text, expected, strict=False)))
            self._repeated_at = self._repeated_at + same if same == len(expected) else len(self._repeated)
            text = text[same:]
        if not text:
            return []
        self._receive(text)
        self._length += len(text)
        return [TextDelta(text)]

    def _thought(self, block: _Block, text: str) -> list[Delta]:
        if not text:
            return []
        block.pieces.append(text)
        self._receive(text)
        self._length = 0
        return [ReasoningSummaryDelta(text) if self._summarizes else ReasoningDelta(text)]

    def _input(self, block: _Block, piece: str) -> list[Delta]:
        if not piece:
            return []
        block.pieces.append(piece)
        self._receive(piece)
        return [ToolCallDelta(block.call, arguments=piece)] if block.kind == "tool_use" else []

    def _receive(self, text: str) -> None:
        self._has_content = True
        self._counts.received += len(text)

    def _stop(self, block: _Block) -> list[Delta]:
        self._blocks.remove(block)
        match block.kind:
            case "text":
                return [
                    TextAnnotation(cited) for citation in block.citations if (cited := self._cited(block, citation))
                ]
            case "tool_use" if not block.pieces:
                whole = object_text(block.start.get("input"))
                return [ToolCallDelta(block.call, arguments=whole)]
            case "thinking":
                thinking, signature = "".join(block.pieces), "".join(block.signature)
                return self._seal({"type": "thinking", "thinking": thinking, "signature": signature})
            case "redacted_thinking":
                return self._seal({"type": "redacted_thinking", "data": block.start.get("data") or ""})
            case kind if kind in PROVIDER_ITEM_TYPES["anthropic"]:
                self._length = 0
                self._has_content = True
                return [ProviderItem(_provider_item(block))]
        return []

    def _seal(self, block: JsonObject) -> list[Delta]:
        self._length = 0
        content = json.dumps(block, ensure_ascii=False, separators=(",", ":"))
        return [ReasoningSeal(sealed_reasoning.mark(self._failures.config.name, content))]

    def _cited(self, block: _Block, citation: JsonObject) -> JsonObject | None:
        """Return the citation of a web page. Citations of documents have no address."""
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
        """Keep the highest counts: they are cumulative, and some servers report the input at the start, others at the
        end."""
        given = as_object(event.get("usage"))
        for name, value in {**given, **as_object(given.get("output_tokens_details"))}.items():
            count = count_in(value)
            if count is not None:
                self._usage[name] = max(count, self._usage.get(name, 0))
        if given and any(self._usage.values()):
            self._call.on_usage(self._total())

    def _total(self) -> Usage:
        counted = self._usage
        cached, written = counted.get("cache_read_input_tokens", 0), counted.get("cache_creation_input_tokens", 0)
        fresh = counted.get("input_tokens")
        return self._counts.usage(
            None if fresh is None else fresh + cached + written,
            counted.get("output_tokens"),
            cached=cached,
            cache_written=written,
            reasoning=counted.get("thinking_tokens", 0),
        )


def _index(event: JsonObject) -> int | None:
    index = event.get("index")
    return index if isinstance(index, int) else None


def _provider_item(block: _Block) -> JsonObject:
    """The block with its own members; its `id` under another name."""
    item = {key: value for key, value in block.start.items() if key != "id"}
    if "id" in block.start:
        item[BLOCK_ID] = block.start["id"]
    if block.pieces:
        item["input"] = json.loads("".join(block.pieces))
    return item
