"""Ollama's lines to deltas.

Sources: docs.ollama.com (openapi.yaml), `api/types.go` of Ollama 0.33.
"""

from __future__ import annotations

import json
from typing import Any

from activities.providers.ollama.error_parsing import error_in_stream
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.finish_reasons import meaning_of
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.logprobs import logprobs_of
from activities.providers.shared.token_counts import TokenCounts, count_in, first_count
from open_responses.contracts import SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    ReasoningDelta,
    ReasoningSeal,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning


class LineReader:
    """Turns lines into deltas, and remembers how the answer ended."""

    def __init__(self, call: SampleCall, failures: Failures) -> None:
        self._asked = call
        self._failures = failures
        self._last: JsonObject | None = None
        self._thought = False
        self._calls = 0
        self._counts = TokenCounts(call)
        self.left_out = 0

    def read(self, line: JsonObject) -> list[Delta]:
        """Return the deltas of one line. Raises the error that a line describes."""
        if "error" in line:
            raise error_in_stream(self._asked.model, self._failures, line)
        message = as_object(line.get("message"))
        deltas: list[Delta] = []
        if message.get("thinking"):
            self._thought = True
            deltas.append(ReasoningDelta(message["thinking"]))
            self._counts.received += len(message["thinking"])
        if message.get("content"):
            deltas += self._seal()
            deltas.append(TextDelta(message["content"], logprobs_of(line.get("logprobs"))))
            self._counts.received += len(message["content"])
        for call in message.get("tool_calls") or []:
            deltas += [*self._seal(), self._call(as_object(call))]
        if line.get("done") or line.get("done_reason"):
            self._last = line
            self._asked.on_usage(self._usage(line))
        return deltas

    @property
    def is_over(self) -> bool:
        return self._last is not None

    @property
    def knows_end(self) -> bool:
        return self._last is not None

    def finish(self) -> list[Delta]:
        """Return the last deltas. Raises ProviderStreamBroken for a stream that ended without its last line."""
        if self._last is None:
            raise self._failures.broken_off()
        reason = meaning_of(self._last.get("done_reason")) or "stop"
        if reason == "stop" and self._calls:
            reason = "tool_calls"
        return [*self._seal(), Finish(reason, self._usage(self._last), self._last.get("model"))]

    def _seal(self) -> list[Delta]:
        """Return a seal that records only the provider of the reasoning, so that no other provider gets it."""
        if not self._thought:
            return []
        self._thought = False
        return [ReasoningSeal(sealed_reasoning.mark(self._failures.config.name, json.dumps({"field": "thinking"})))]

    def _call(self, call: JsonObject) -> ToolCallDelta:
        """Return the deltas of a call, which is never split. Not every version of the server sends an index, so this
        server sets it."""
        function = as_object(call.get("function"))
        arguments: Any = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        self._counts.received += len(text)
        self._calls += 1
        return ToolCallDelta(self._calls - 1, text, call.get("id") or None, function.get("name") or None)

    def _usage(self, last: JsonObject) -> Usage:
        """Return the usage. `prompt_eval_count` includes the tokens from the cache, and reasoning is not counted
        apart."""
        cached = count_in(last.get("prompt_eval_cached_count")) or 0
        read = first_count(last.get("prompt_eval_count"), cached)
        return self._counts.usage(read, count_in(last.get("eval_count")), cached=cached)
