"""OpenAI's events to deltas.

Sources: OpenAI's API reference by the types of its Python SDK (openai 3.54,
`types/responses/response_stream_event.py`), and recorded streams: vercel/ai,
`packages/openai/src/responses/__fixtures__` (errors, phases, encrypted reasoning, built-in tools). Items are told apart
by `output_index`: their ids may change from event to event (`github-copilot-id-rotation.1.chunks.txt`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any, TypeAlias

import httpx

from activities.providers.openai.error_parsing import error_in_stream
from activities.providers.openai.reasoning import seal_of
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
    ItemEnd,
    Phase,
    ProviderItem,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    ResumeToken,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import ProviderStreamBroken
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from open_responses.schema.items import PROVIDER_ITEM_TYPES

# A connection is used again only after the whole answer was read; its end comes right behind the last event.
_DRAIN_SECONDS = 1.0


async def events(response: httpx.Response) -> AsyncGenerator[tuple[str, JsonObject], None]:
    """(type, event); a server that does not stream sends its whole response at once."""
    if is_event_stream(response):
        async for name, event in sse_objects(response):
            yield event.get("type") or ("error" if event.get("error") else name), event
        return
    whole = as_object(json.loads(await response.aread()))
    if "status" not in whole:
        yield "error", whole
        return
    yield "response.created", {"response": whole}
    yield f"response.{whole['status']}", {"response": whole}


async def drain(answer: AsyncGenerator[tuple[str, JsonObject], None]) -> None:
    """Reads on to the stream's end, for a moment."""
    with contextlib.suppress(TimeoutError, httpx.TransportError, ValueError, ProviderStreamBroken):
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in answer:
                pass


class EventReader:
    """Turns events into deltas, and remembers how the stream ended.

    Texts and arguments come in pieces, again in the event that ends a part, and once more in the item and the response:
    `_sent` counts what was passed on of each, so that nothing is lost where pieces are missing, and nothing doubled.
    """

    def __init__(self, call: SampleCall, failures: Failures, *, resumes: bool) -> None:
        self._asked = call
        self._failures = failures
        self._wants_token = resumes
        self._sent: dict[_Position, int] = {}
        self._phases: dict[int, Phase] = {}
        self._calls: set[int] = set()
        self._indexes: dict[str, int] = {}
        self._text_at: tuple[int, int] | None = None
        self._reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._model: str | None = None

    @property
    def has_ended(self) -> bool:
        return self._reason is not None

    def read(self, kind: str, event: JsonObject) -> list[Delta]:
        """The deltas of one event. Raises what an `error` or a failure in the stream stands for."""
        event = self._with_index(event)
        if kind in _PIECES:
            return self._more(_position(event, _PIECES[kind]), event)
        if kind in _WHOLE:
            return self._part(_position(event, _WHOLE[kind]), event)
        return self._other(kind, event)

    def _with_index(self, event: JsonObject) -> JsonObject:
        """Some servers (llama.cpp) send no `output_index`: then the items are counted by their ids."""
        item_id = event.get("item_id") or as_object(event.get("item")).get("id")
        if "output_index" in event or not isinstance(item_id, str):
            return event
        return {**event, "output_index": self._indexes.setdefault(item_id, len(self._indexes))}

    def _other(self, kind: str, event: JsonObject) -> list[Delta]:
        match kind:
            case "response.created" | "response.queued" | "response.in_progress":
                return self._began(as_object(event.get("response")))
            case "response.output_item.added":
                return self._added(_index(event), as_object(event.get("item")))
            case "response.output_item.done":
                return self._item(_index(event), as_object(event.get("item")))
            case "response.content_part.done":
                part = as_object(event.get("part"))
                return self._part(_position(event, str(part.get("type"))), part)
            case "response.output_text.annotation.added":
                return self._annotation(_position(event, "annotations"), event.get("annotation"))
            case "response.completed" | "response.incomplete":
                return self._ended(kind, as_object(event.get("response")))
            case "response.failed":
                response = as_object(event.get("response"))
                self._count(response)
                raise error_in_stream(self._failures, response)
            case "response.cancelled":
                raise ProviderStreamBroken("the provider cancelled the answer")
            case "error":
                raise error_in_stream(self._failures, event)
        return []

    def finish(self) -> Finish:
        """Raises ProviderStreamBroken for a stream that ended without saying so."""
        if self._reason is None:
            raise self._failures.broken_off()
        received = sum(sent for (_, kind, _), sent in self._sent.items() if kind in _COUNTED)
        return Finish(self._reason, self._usage or estimated_usage(self._asked, received), self._model)

    # --- the response

    def _began(self, response: JsonObject) -> list[Delta]:
        if not self._wants_token or not response.get("id"):
            return []
        self._wants_token = False
        return [ResumeToken(str(response["id"]))]

    def _ended(self, kind: str, response: JsonObject) -> list[Delta]:
        self._model = response.get("model")
        self._count(response)
        deltas = [] if self._sent or self._calls else self._unstreamed(response.get("output"))
        if kind == "response.completed":
            self._reason = "tool_calls" if self._calls else "stop"
        else:
            why = as_object(response.get("incomplete_details")).get("reason")
            self._reason = "content_filter" if why == "content_filter" else "length"
        return deltas

    def _count(self, response: JsonObject) -> None:
        if response.get("usage"):
            self._usage = _usage(as_object(response["usage"]))
            self._asked.on_usage(self._usage)

    def _unstreamed(self, output: Any) -> list[Delta]:
        items = enumerate(output if isinstance(output, list) else [])
        return [delta for index, item in items for delta in self._item(index, as_object(item))]

    # --- items

    def _added(self, index: int, item: JsonObject) -> list[Delta]:
        if item.get("phase") in ("commentary", "final_answer"):
            self._phases[index] = item["phase"]
        return self._call(index, item) if item.get("type") == "function_call" else []

    def _item(self, index: int, item: JsonObject) -> list[Delta]:
        """What was not passed on of an item that is whole now, and its end."""
        kind = item.get("type")
        if kind == "message":
            return self._message(index, item)
        if kind == "reasoning":
            return self._reasoning(index, item)
        if kind == "function_call":
            return self._call(index, item)
        if kind not in PROVIDER_ITEM_TYPES["openai"]:
            return []
        self._sent[index, "item", 0] = 1
        return [ProviderItem(item)]

    def _message(self, index: int, item: JsonObject) -> list[Delta]:
        deltas = self._added(index, item) + self._parts(index, item.get("content"))
        if not any(self._sent.get((index, kind, 0)) for kind in ("output_text", "refusal")):
            deltas += self._text((index, "output_text", 0), "")
        return deltas + _end(item)

    def _reasoning(self, index: int, item: JsonObject) -> list[Delta]:
        deltas = self._parts(index, item.get("summary")) + self._parts(index, item.get("content"))
        seal = seal_of(item)
        if seal is None or item.get("status") == "incomplete":
            return deltas + _end(item)
        self._sent[index, "item", 0] = 1
        return [*deltas, ReasoningSeal(sealed_reasoning.mark(self._failures.config.name, seal))]

    def _call(self, index: int, item: JsonObject) -> list[Delta]:
        """A call at its start or its end; the first time with its name."""
        rest = self._rest((index, "arguments", 0), item.get("arguments"))
        if index in self._calls:
            return [ToolCallDelta(index, rest)] if rest else []
        self._calls.add(index)
        return [ToolCallDelta(index, rest, item.get("call_id") or None, item.get("name") or None)]

    # --- parts

    def _more(self, position: _Position, event: JsonObject) -> list[Delta]:
        text = event.get("delta") or ""
        self._sent[position] = self._sent.get(position, 0) + len(text)
        if position[1] == "output_text":
            return self._text(position, text, logprobs_of(event.get("logprobs")))
        return self._piece(position, text) if text else []

    def _parts(self, index: int, parts: Any) -> list[Delta]:
        deltas: list[Delta] = []
        for number, given in enumerate(parts if isinstance(parts, list) else []):
            part = as_object(given)
            deltas += self._part((index, str(part.get("type")), number), part)
        return deltas

    def _part(self, position: _Position, part: JsonObject) -> list[Delta]:
        """What was not passed on of a part that is whole now."""
        rest = self._rest(position, part.get(_MEMBER.get(position[1], "text")))
        deltas = self._piece(position, rest) if rest else []
        given = part.get("annotations")
        if isinstance(given, list):
            counted = (position[0], "annotations", position[2])
            for annotation in given[self._sent.get(counted, 0) :]:
                deltas += self._annotation(counted, annotation)
        return deltas

    def _annotation(self, position: _Position, annotation: Any) -> list[Delta]:
        self._sent[position] = self._sent.get(position, 0) + 1
        return [TextAnnotation(annotation)] if isinstance(annotation, dict) else []

    def _piece(self, position: _Position, text: str) -> list[Delta]:
        index, kind, number = position
        match kind:
            case "output_text":
                return self._text(position, text)
            case "arguments":
                return [ToolCallDelta(index, text)]
            case "refusal":
                return [RefusalDelta(text)]
            case "reasoning_text":
                return [ReasoningDelta(text)]
            case "summary_text":
                return [ReasoningSummaryDelta(text, number)]
        return []

    def _text(self, position: _Position, text: str, logprobs: list[JsonObject] | None = None) -> list[Delta]:
        """Two texts in one message become two messages: annotations count from the start of their own."""
        index, _, number = position
        delta = TextDelta(text, logprobs, self._phases.get(index))
        before, self._text_at = self._text_at, (index, number)
        if before is not None and before[0] == index and before[1] != number:
            return [ItemEnd(), delta]
        return [delta]

    def _rest(self, position: _Position, whole: Any) -> str:
        """What of a text that is whole now was not passed on yet."""
        text = whole if isinstance(whole, str) else ""
        before = self._sent.get(position, 0)
        self._sent[position] = max(before, len(text))
        return text[before:]


_Position: TypeAlias = tuple[int, str, int]
"""(output index, kind of part, index of the part)."""

_PIECES = {
    "response.function_call_arguments.delta": "arguments",
    "response.output_text.delta": "output_text",
    # The Open Responses specification's name for the raw text of reasoning, and OpenAI's.
    "response.reasoning.delta": "reasoning_text",
    "response.reasoning_summary_text.delta": "summary_text",
    "response.reasoning_text.delta": "reasoning_text",
    "response.refusal.delta": "refusal",
}
_WHOLE = {kind.replace(".delta", ".done"): part for kind, part in _PIECES.items()}
# What the answer holds, each by its characters.
_COUNTED = frozenset(_PIECES.values())
_MEMBER = {"arguments": "arguments", "refusal": "refusal"}


def _position(event: JsonObject, kind: str) -> _Position:
    return _index(event), kind, event.get("content_index") or event.get("summary_index") or 0


def _index(event: JsonObject) -> int:
    return event.get("output_index") or 0


def _end(item: JsonObject) -> list[Delta]:
    """The end of an item, unless it broke off: what is open at the end of an incomplete answer is incomplete."""
    return [] if item.get("status") == "incomplete" else [ItemEnd()]


def _usage(given: JsonObject) -> Usage:
    """OpenAI counts the cached and the written among the input, and reasoning among the output."""
    read, written = as_object(given.get("input_tokens_details")), as_object(given.get("output_tokens_details"))
    return Usage(
        input_tokens=given.get("input_tokens") or 0,
        output_tokens=given.get("output_tokens") or 0,
        cached_tokens=read.get("cached_tokens") or 0,
        cache_write_tokens=read.get("cache_write_tokens") or 0,
        reasoning_tokens=written.get("reasoning_tokens") or 0,
    )
