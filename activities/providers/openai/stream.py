"""OpenAI's events to deltas: those of the response here, those of its items by `ItemReader`.

Sources: OpenAI's API reference by the types of its Python SDK (openai 3.54,
`types/responses/response_stream_event.py`), and recorded streams: vercel/ai,
`packages/openai/src/responses/__fixtures__` (errors, phases, encrypted reasoning, built-in tools).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import httpx

from activities.providers.openai.error_parsing import error_in_stream
from activities.providers.openai.item_reader import ItemReader
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.finish_reasons import meaning_of
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.token_counts import TokenCounts, count_in, first_count
from activities.providers.shared.upstream import DONE, NamedObject, is_event_stream, sse_objects
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta, Finish, FinishReason, ResumeToken, Usage
from open_responses.errors import ProviderStreamBroken
from open_responses.json_types import JsonObject


async def events(response: httpx.Response) -> AsyncGenerator[list[NamedObject], None]:
    """Yield (type, event). A server that does not stream sends its whole response at once."""
    if is_event_stream(response):
        async for found in sse_objects(response):
            yield [
                (name if name == DONE else event.get("type") or ("error" if event.get("error") else name), event)
                for name, event in found
            ]
        return
    whole = as_object(json.loads(await response.aread()))
    if "status" not in whole and "output" not in whole:
        yield [("error", whole)]
        return
    yield [("response.created", {"response": whole}), ("response.done", {"response": whole})]


class EventReader:
    """Turns events into deltas, and remembers how the stream ended."""

    def __init__(self, call: SampleCall, failures: Failures, *, resumes: bool) -> None:
        self._asked = call
        self._failures = failures
        self._wants_token = resumes
        self._items = ItemReader(failures.config.name)
        self._is_done = False
        self._indexes: dict[str, int] = {}
        self._reason: FinishReason | None = None
        self._counts = TokenCounts(call)
        self._usage: JsonObject = {}
        self._model: str | None = None
        self._reported: JsonObject = {}

    @property
    def left_out(self) -> int:
        """The number of items that the next model turn could not read."""
        return self._items.left_out

    @property
    def is_over(self) -> bool:
        return self._is_done or self._reason is not None

    @property
    def knows_end(self) -> bool:
        return self._is_done or self._reason is not None

    def read(self, named: NamedObject) -> list[Delta]:
        """Return the deltas of one event. Raises the error that an `error` event or a failed response describes."""
        kind, event = named
        if self._reason is not None:
            return []
        if "output_index" not in event:
            event = self._with_index(event)
        deltas = self._items.read(kind, event)
        return deltas if deltas is not None else self._other(kind, event)

    def _with_index(self, event: JsonObject) -> JsonObject:
        """Some servers (llama.cpp) send no `output_index`: then the items are counted by their ids."""
        item_id = event.get("item_id") or as_object(event.get("item")).get("id")
        if not isinstance(item_id, str):
            return event
        return {**event, "output_index": self._indexes.setdefault(item_id, len(self._indexes))}

    def _other(self, kind: str, event: JsonObject) -> list[Delta]:
        match kind:
            case "response.created" | "response.queued" | "response.in_progress":
                return self._began(as_object(event.get("response")))
            case "response.completed" | "response.incomplete":
                return self._ended(kind, as_object(event.get("response")))
            case "response.done":
                return self._done(as_object(event.get("response")))
            case _ if kind == DONE:
                self._is_done = True
            case "response.failed":
                response = as_object(event.get("response"))
                self._count(response)
                raise error_in_stream(self._failures, response)
            case "response.cancelled":
                raise ProviderStreamBroken("the provider cancelled the answer")
            case "error":
                raise error_in_stream(self._failures, event)
        return []

    def finish(self) -> list[Delta]:
        """Return the last deltas. Raises ProviderStreamBroken for a stream without a terminal event."""
        reason = self._reason
        if reason is None and self._is_done and self._items.has_sent:
            reason = "tool_calls" if self._items.has_function_calls else "stop"
        if reason is None:
            raise self._failures.broken_off()
        return [*self._items.nameless_calls(), Finish(reason, self._counted(), self._model, self._reported or None)]

    def _began(self, response: JsonObject) -> list[Delta]:
        if not self._wants_token or not response.get("id"):
            return []
        self._wants_token = False
        return [ResumeToken(str(response["id"]))]

    def _done(self, response: JsonObject) -> list[Delta]:
        """One event for all ends, as some servers have it; its response says which one it is."""
        status = response.get("status") or "completed"
        is_end = status in ("completed", "incomplete", "failed", "cancelled")
        return self._other(f"response.{status}", {"response": response}) if is_end else []

    def _ended(self, kind: str, response: JsonObject) -> list[Delta]:
        self._model = response.get("model")
        self._reported = {name: response[name] for name in _REPORTED if response.get(name) is not None}
        self._count(response)
        deltas = self._items.rest_of(response.get("output"))
        if kind == "response.completed":
            self._reason = "tool_calls" if self._items.has_calls else "stop"
        else:
            why = meaning_of(as_object(response.get("incomplete_details")).get("reason"))
            self._reason = "content_filter" if why == "content_filter" else "length"
        return deltas

    def _count(self, response: JsonObject) -> None:
        self._usage = as_object(response.get("usage")) or self._usage
        if self._usage:
            self._asked.on_usage(self._counted())

    def _counted(self) -> Usage:
        """Return the usage. OpenAI includes cached and written tokens in the input, and reasoning in the output."""
        given = self._usage
        read, written = as_object(given.get("input_tokens_details")), as_object(given.get("output_tokens_details"))
        self._counts.received = self._items.characters
        return self._counts.usage(
            count_in(given.get("input_tokens")),
            count_in(given.get("output_tokens")),
            cached=first_count(read.get("cached_tokens")),
            cache_written=first_count(read.get("cache_write_tokens")),
            reasoning=first_count(written.get("reasoning_tokens")),
        )


# What OpenAI says of a response beyond its output: what it did with a setting, and what it counts beside tokens.
_REPORTED = ("input_transformations", "moderation", "prompt_cache_diagnostics", "service_tier", "tool_usage")
