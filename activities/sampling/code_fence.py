"""Takes an answer in JSON out of the Markdown code fence that a model has put it into.

What this prevents: a right answer that is asked for and paid for once more, because "```json" stands before it.

A client of a stream cannot be asked to forget what it has read, so the fence is removed as the text arrives: the first
line waits until it is known whether it is a fence, and so do blanks and backticks that may be the fence's end. Nothing
is removed from any other text (`docs/decisions/0039-code-fences.md`).
"""

from __future__ import annotations

import re
from dataclasses import replace

from open_responses.deltas import Delta, ReasoningSeal, ResumeToken, TextAnnotation, TextDelta
from open_responses.json_types import JsonObject

_OPENING = re.compile(r"\s*```[\w+-]*[ \t]*(?:\r?\n|(?=[{\[]))")
_MAY_OPEN = re.compile(r"\s*(?:`{1,2}|```[\w+-]*[ \t]*\r?)?")
# More characters than that are no fence, but blanks without end, as some models write under a JSON schema.
_LONGEST = 256


class CodeFence:
    """Passes on the deltas of one answer in JSON.

    `is_continued` says that the answer goes on from the text of an earlier attempt: its fence has been removed already,
    and a model that continues it may still write the end of the fence.
    """

    def __init__(self, *, is_continued: bool = False) -> None:
        self._is_begun = is_continued
        self._is_fenced = is_continued
        self._held = ""
        self._last: TextDelta | None = None
        self._logprobs: list[JsonObject] | None = None

    def read(self, delta: Delta) -> list[Delta]:
        """Return the deltas that can be passed on."""
        if isinstance(delta, TextDelta):
            return self._text(delta)
        if isinstance(delta, TextAnnotation | ReasoningSeal | ResumeToken):
            # The text may go on behind these.
            return [delta]
        return [*self.end(), delta]

    def end(self) -> list[Delta]:
        """Return what was held back of a text that has ended, without the end of a fence. The next text begins anew."""
        rest = "" if self._is_fenced and self._held.strip() == "```" else self._held
        passed = self._passed_on(rest)
        self._is_begun = self._is_fenced = False
        return passed

    def _text(self, delta: TextDelta) -> list[Delta]:
        if not delta.text:
            return [delta]
        self._last = delta
        self._held += delta.text
        if delta.logprobs:
            self._logprobs = [*(self._logprobs or ()), *delta.logprobs]
        if not self._is_begun and not self._begins():
            return []
        end = self._end_of_fence() if self._is_fenced else len(self._held)
        return self._passed_on(self._held[:end], self._held[end:])

    def _begins(self) -> bool:
        """Whether the text is known to begin with a fence, which is removed, or not to."""
        opening = _OPENING.match(self._held)
        if opening is not None:
            self._is_begun = self._is_fenced = True
            self._held = self._held[opening.end() :]
            self._logprobs = self._logprobs if self._held else None
        elif len(self._held) > _LONGEST or _MAY_OPEN.fullmatch(self._held) is None:
            self._is_begun = True
        return self._is_begun

    def _end_of_fence(self) -> int:
        """The position from which on the text may be the end of the fence."""
        text = self._held.rstrip()
        inner = text.rstrip("`")
        if len(text) - len(inner) > len("```"):
            return len(self._held)
        begin = len(inner.rstrip())
        return begin if len(self._held) - begin <= _LONGEST else len(self._held)

    def _passed_on(self, text: str, held: str = "") -> list[Delta]:
        self._held = held
        if not text or self._last is None:
            return []
        logprobs, self._logprobs = self._logprobs, None
        return [replace(self._last, text=text, logprobs=logprobs)]
