"""A chat completion's chunks to deltas.

Sources: OpenAI's API reference, `POST /chat/completions`, and what others add to it: groq's SDK 1.7 (`x_groq`),
mistralai's SDK 3.7 (content chunks), openrouter.ai/docs (errors in the stream).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx

from activities.providers.openai_chat.call_fragments import ToolCalls
from activities.providers.openai_chat.error_parsing import GAVE_UP, error_in, error_of_chunk
from activities.providers.openai_chat.media import CitedPages, Images, annotations_of
from activities.providers.openai_chat.thoughts import Thoughts
from activities.providers.openai_chat.whole_messages import WholeMessages
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.finish_reasons import meaning_of
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.logprobs import logprobs_of
from activities.providers.shared.sse import MESSAGE
from activities.providers.shared.token_counts import TokenCounts, count_in, first_count
from activities.providers.shared.upstream import DONE, NamedObject, is_event_stream, sse_objects
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import ProviderStreamBroken
from open_responses.json_types import JsonObject


def chunks(response: httpx.Response) -> AsyncGenerator[list[NamedObject], None]:
    """Yield the stream's events. A server that does not stream sends its whole answer as one event."""
    return sse_objects(response) if is_event_stream(response) else _whole(response)


async def _whole(response: httpx.Response) -> AsyncGenerator[list[NamedObject], None]:
    body = json.loads(await response.aread())
    if not isinstance(body, dict):
        raise ProviderStreamBroken("the provider sent an answer that is not an object")
    yield [("message", body), (DONE, {})]


_OF_A_CHUNK = frozenset(
    ("id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint", "obfuscation")
)
_OF_A_CHOICE = frozenset(("index", "delta", "logprobs", "finish_reason"))
_OF_A_DELTA = frozenset(("role", "content"))


def _plain_text(chunk: JsonObject) -> str | None:
    """The text of a chunk that has a piece of text and nothing else, as nearly all of them; None for any other.

    What this saves: two dozen calls, each of which looks for what some server sends elsewhere.
    """
    if not chunk.keys() <= _OF_A_CHUNK or chunk.get("usage") or chunk.get("object") == "error":
        return None
    choices = chunk.get("choices")
    if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
        return None
    choice = choices[0]
    if (
        not choice.keys() <= _OF_A_CHOICE
        or choice.get("index")
        or choice.get("logprobs")
        or choice.get("finish_reason")
    ):
        return None
    delta = choice.get("delta")
    if type(delta) is not dict or not delta.keys() <= _OF_A_DELTA:
        return None
    text = delta.get("content")
    return text if type(text) is str and text else None


class ChunkReader:
    """Turns chunks into deltas, and remembers how the stream ended."""

    def __init__(self, call: SampleCall, failures: Failures, names: Sequence[str] = ()) -> None:
        self._asked = call
        self._failures = failures
        self._thoughts = Thoughts(failures.config.name)
        self._calls = ToolCalls(names)
        self._messages = WholeMessages()
        self._images = Images()
        self._pages = CitedPages()
        self._is_done = False
        self.left_out = 0
        self._has_content = False
        self._reason: str | None = None
        self._usage: JsonObject | None = None
        self._model: str | None = None
        self._counts = TokenCounts(call)

    @property
    def is_over(self) -> bool:
        return self._is_done

    @property
    def knows_end(self) -> bool:
        return self._is_done or self._reason is not None

    def read(self, event: NamedObject) -> list[Delta]:
        """Return the deltas of one chunk. Raises the error that a chunk describes."""
        name, chunk = event
        if name == DONE:
            self._is_done = True
            return []
        if name == MESSAGE and (text := _plain_text(chunk)) is not None:
            self._model = chunk.get("model") or self._model
            return self._more_text(text)
        error = error_in(chunk, name)
        if error is not None:
            raise error_of_chunk(self._failures, error)
        self._model = chunk.get("model") or self._model
        choices = [as_object(choice) for choice in chunk.get("choices") or []]
        choice: JsonObject = next((choice for choice in choices if not choice.get("index")), {})
        usage = chunk.get("usage") or as_object(chunk.get("x_groq")).get("usage") or choice.get("usage")
        if isinstance(usage, dict) and usage:
            self._usage = usage
            self._asked.on_usage(self._counted())
        self._pages.read(chunk, choice)
        return self._choice(choice) if choice else []

    def finish(self) -> list[Delta]:
        """The last deltas. Raises ProviderStreamBroken for a stream that did not say that, or why, the answer ended."""
        reason = self._reason
        if reason is None and not (self._is_done and self._has_content):
            raise self._failures.broken_off()
        if reason is not None and reason.lower() in GAVE_UP:
            raise self._failures.of(503, f"the model's server gave up ({reason})")
        finish = meaning_of(reason) or "stop"
        if finish == "stop" and self._calls.any:
            finish = "tool_calls"
        last: list[Delta] = [*self._pages.annotations(), *self._calls.rest()]
        return [*last, *self._thoughts.at_end(), Finish(finish, self._counted(), self._model)]

    def _more_text(self, text: str) -> list[Delta]:
        """The deltas of a chunk that is a piece of text: as `_choice` makes them."""
        sealed = self._thoughts.before_output() if self._thoughts.is_open else []
        if sealed:
            self._count(sealed)
        self._messages.passed_on_text(text)
        self._pages.passed_on_text(text)
        self._counts.received += len(text)
        self._has_content = True
        return [*sealed, TextDelta(text)]

    def _choice(self, choice: JsonObject) -> list[Delta]:
        if choice.get("error"):
            raise error_of_chunk(self._failures, choice["error"])
        delta = self._delta_of(choice)
        self._pages.read(delta)
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
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason.lower() not in ("", "null", "none"):
            self._reason = reason
        self._count(deltas)
        return deltas

    def _delta_of(self, choice: JsonObject) -> JsonObject:
        delta, message = as_object(choice.get("delta")), as_object(choice.get("message"))
        if delta or not message:
            self._messages.passed_on(delta)
            return delta
        return self._messages.rest_of(message, is_last=bool(choice.get("finish_reason")))

    def _counted(self) -> Usage:
        """DeepSeek counts what it read from its cache as `prompt_cache_hit_tokens`, Moonshot as `cached_tokens`; xAI's
        completion is without the reasoning, which shows in the total alone."""
        given = self._usage or {}
        prompt, completion = count_in(given.get("prompt_tokens")), count_in(given.get("completion_tokens"))
        total = count_in(given.get("total_tokens"))
        read = as_object(given.get("prompt_tokens_details"))
        written = as_object(given.get("completion_tokens_details"))
        reasoning = first_count(written.get("reasoning_tokens"), given.get("reasoning_tokens"))
        if prompt is not None and completion is not None:
            completion += reasoning if total == prompt + completion + reasoning else 0
        elif total and prompt is not None:
            completion = max(0, total - prompt)
        elif total and completion is not None:
            prompt = max(0, total - completion)
        cached = (read.get("cached_tokens"), given.get("prompt_cache_hit_tokens"), given.get("cached_tokens"))
        return self._counts.usage(
            prompt,
            completion,
            cached=first_count(*cached),
            cache_written=first_count(read.get("cache_write_tokens")),
            reasoning=reasoning,
        )

    def _rest(self, delta: JsonObject) -> list[Delta]:
        rest = [*annotations_of(delta.get("annotations")), *self._images.read(delta.get("images"))]
        if delta.get("refusal"):
            rest.append(RefusalDelta(delta["refusal"]))
        if isinstance(delta.get("tool_calls"), list):
            rest += self._thoughts.of_calls(delta["tool_calls"])
            rest += self._calls.read(delta["tool_calls"])
        if delta.get("function_call"):
            rest += self._calls.read([{"index": 0, "function": delta["function_call"]}])
        return rest

    def _read_parts(self, parts: list[Any], deltas: list[Delta], shown: list[Delta]) -> None:
        """Read content in parts: thinking precedes the text in Mistral's, and reasoning in those of Databricks."""
        for part in map(as_object, parts):
            if part.get("type") == "thinking":
                deltas += self._thoughts.read_chunk(part)
            elif part.get("type") == "reasoning":
                deltas += self._thoughts.read_summary(part)
            elif part.get("type") == "text" and isinstance(part.get("text"), str) and part["text"]:
                shown.append(TextDelta(part["text"]))
            elif part.get("type") in ("image_url", "output_image", "image"):
                shown += self._images.read([part])
            else:
                # Mistral's references name pages that it does not send.
                self.left_out += part.get("type") not in ("text", "reference")

    def _count(self, deltas: list[Delta]) -> None:
        self._has_content = self._has_content or bool(deltas)
        self._pages.passed_on(deltas)
        for delta in deltas:
            if isinstance(delta, TextDelta | ReasoningDelta | ReasoningSummaryDelta | RefusalDelta):
                self._counts.received += len(delta.text)
            elif isinstance(delta, ToolCallDelta):
                self._counts.received += len(delta.arguments)
