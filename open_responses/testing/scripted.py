"""A provider that answers from a script, without a network, for tests of tools, middlewares and programs.

    provider = ScriptedProvider(calls("get_weather", {"city": "Oslo"}), "It is cold.")
    deltas = [delta async for delta in provider.sample(call)]
    assert provider.calls[0].tools[0].name == "get_weather"

To use it as the adapter of a running server, write a subclass whose constructor takes the configuration.

    class Rehearsal(ScriptedProvider):      # adapter = "my_package.rehearsal:Rehearsal"
        def __init__(self, config, http, api_key):
            super().__init__(otherwise="It is cold.")
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TypeAlias

from open_responses.contracts import Resume, SampleCall
from open_responses.deltas import Delta, Finish, FinishReason, TextDelta, ToolCallDelta, Usage
from open_responses.json_types import JsonObject

Answer: TypeAlias = str | Exception | Iterable[Delta | Exception] | Callable[[SampleCall], "Answer"]
"""One answer: a text, an error, a list of deltas and errors, or a function from the call to an answer.

An error in a list is raised at its position. The list is sent unchanged: without a `Finish` the stream is broken.
"""


class ScriptedProvider:
    """A provider that gives each call the next answer of its script.

    Args:
        *answers: The answers in order.
        otherwise: The answer to each call after the last of `answers`; such a call raises AssertionError if None.
        resume: How an interrupted answer continues.

    Attributes:
        calls: The calls so far.
        open_streams: The number of streams that have not ended and are not closed.
    """

    def __init__(self, *answers: Answer, otherwise: Answer | None = None, resume: Resume = "none") -> None:
        self.calls: list[SampleCall] = []
        self.open_streams = 0
        self._answers = list(answers)
        self._otherwise = otherwise
        self._resume: Resume = resume

    def resume_of(self, call: SampleCall) -> Resume:
        """Return the same for every call. With `prefill`, a text continues after the call's `prefix`."""
        return self._resume

    async def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yield the deltas of the next answer.

        Raises:
            Exception: An error of the script.
            AssertionError: The script has no answer left.
        """
        self.calls.append(call)
        answer = self._next()
        self.open_streams += 1
        try:
            for delta in _deltas(answer, call):
                if isinstance(delta, Exception):
                    raise delta
                yield delta
        finally:
            self.open_streams -= 1

    def _next(self) -> Answer:
        number = len(self.calls)
        if number <= len(self._answers):
            return self._answers[number - 1]
        if self._otherwise is None:
            raise AssertionError(f"the script has {len(self._answers)} answers, and this is call {number}")
        return self._otherwise


def says(text: str, *, reason: FinishReason = "stop", usage: Usage | None = None) -> list[Delta]:
    """Return the deltas of a text, one for each word. Without `usage`, each word counts as one token."""
    words = re.findall(r"\s*\S+\s*", text) or ([text] if text else [])
    counted = usage or Usage(input_tokens=len(words), output_tokens=len(words))
    return [*map(TextDelta, words), Finish(reason, counted, "scripted")]


def calls(name: str, arguments: JsonObject | str, *, call_id: str = "call_1") -> list[Delta]:
    """Return the deltas of one function call. A string of `arguments` is sent unchanged, even if it is not JSON."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    middle = len(written) // 2
    return [
        ToolCallDelta(0, call_id=call_id, name=name),
        ToolCallDelta(0, written[:middle]),
        ToolCallDelta(0, written[middle:]),
        Finish("tool_calls", Usage(input_tokens=1, output_tokens=1), "scripted"),
    ]


def _deltas(answer: Answer, call: SampleCall) -> Iterable[Delta | Exception]:
    if isinstance(answer, str):
        return says(answer.removeprefix(call.prefix or ""))
    if isinstance(answer, Exception):
        return [answer]
    return _deltas(answer(call), call) if callable(answer) else answer
