"""Choices with a `message` where a stream has a `delta`.

Servers differ in what the message of a chunk is: the next piece, all that was said so far, or (Perplexity, beside the
deltas) the whole answer with the last chunk.
"""

from __future__ import annotations

from activities.providers.shared.json_objects import as_object
from open_responses.json_types import JsonObject

_TEXTS = ("content", "reasoning_content", "reasoning")


class WholeMessages:
    """Knows what was passed on, and what of a message is new."""

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}
        self._lengths: dict[str, int] = {}
        self._calls: set[str] = set()
        self._repeats = False

    def passed_on(self, delta: JsonObject) -> None:
        """Take note of a chunk whose content a later message may repeat."""
        for name in _TEXTS:
            text = delta.get(name)
            if isinstance(text, str) and text:
                self._said.setdefault(name, []).append(text)
                self._lengths[name] = self._lengths.get(name, 0) + len(text)
        if delta.get("tool_calls"):
            self._calls |= {str(call["id"]) for call in _calls_of(delta) if call.get("id")}

    def passed_on_text(self, text: str) -> None:
        """Take note of a chunk that has nothing but this text."""
        self._said.setdefault("content", []).append(text)
        self._lengths["content"] = self._lengths.get("content", 0) + len(text)

    def rest_of(self, message: JsonObject, *, is_last: bool) -> JsonObject:
        """The message as a delta, without what was passed on before.

        A text that goes on from all that was said is a repetition of it; one that is just the same is a repetition only
        in the last chunk, or where the server has repeated before.
        """
        delta = {**message}
        for name in _TEXTS:
            text, length = delta.get(name), self._lengths.get(name, 0)
            # The texts are joined for a text that is as long as all of them, so that pieces take linear time.
            if (
                not isinstance(text, str)
                or not 0 < length <= len(text)
                or not text.startswith("".join(self._said[name]))
            ):
                continue
            if len(text) > length or is_last or self._repeats:
                self._repeats = True
                delta[name] = text[length:]
        if self._calls and (is_last or self._repeats):
            delta["tool_calls"] = [call for call in _calls_of(delta) if str(call.get("id")) not in self._calls]
        self.passed_on(delta)
        return delta


def _calls_of(delta: JsonObject) -> list[JsonObject]:
    return [as_object(call) for call in delta.get("tool_calls") or ()]
