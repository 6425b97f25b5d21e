"""The calls of the tools that OpenAI runs itself, as deltas with their progress.

Sources: OpenAI's API reference by the types of its Python SDK (openai 3.57,
`types/responses/response_*_call_*_event.py`), and recorded streams: vercel/ai,
`packages/openai/src/responses/__fixtures__` (web search, file search, code interpreter, image generation).
"""

from __future__ import annotations

from collections import Counter

from open_responses.deltas import Delta, ProviderItemProgress, ProviderItemStart
from open_responses.json_types import JsonObject

_CODE_DELTA = "response.code_interpreter_call_code.delta"
_CODE_DONE = "response.code_interpreter_call_code.done"
_PARTIAL_IMAGE = ("partial_image_index", "partial_image_b64", "background", "output_format", "quality", "size")
_STATES = {
    "code_interpreter_call": ("in_progress", "interpreting", "completed"),
    "file_search_call": ("in_progress", "searching", "completed"),
    "image_generation_call": ("in_progress", "generating", "completed"),
    "web_search_call": ("in_progress", "searching", "completed"),
}
BUILT_IN_CALLS = frozenset(_STATES)
BUILT_IN_PROGRESS: dict[str, tuple[str, tuple[str, ...]]] = {
    **{f"response.{call}.{state}": (call, ()) for call, states in _STATES.items() for state in states},
    _CODE_DELTA: ("code_interpreter_call", ()),
    _CODE_DONE: ("code_interpreter_call", ()),
    "response.image_generation_call.partial_image": ("image_generation_call", _PARTIAL_IMAGE),
}
"""Event -> the type of its item, and its members beside those that name the item."""


class BuiltInCalls:
    """The built-in calls of one answer, by their output index."""

    def __init__(self) -> None:
        self._started: set[int] = set()
        # Characters of each call's code that were passed on.
        self._code: Counter[int] = Counter()

    def key_of(self, index: int) -> int | None:
        """Return the key of the call's deltas; None for a call that arrives only as a whole item."""
        return index if index in self._started else None

    def start(self, index: int, item: JsonObject) -> list[Delta]:
        """Return the start of a call, once."""
        if index in self._started:
            return []
        self._started.add(index)
        return [ProviderItemStart(index, item)]

    def progress(self, index: int, kind: str, event: JsonObject) -> list[Delta]:
        """Return the deltas of a progress event. It starts the call where no event of the item has done so."""
        item_type, names = BUILT_IN_PROGRESS[kind]
        deltas = self.start(index, {"type": item_type})
        if kind == _CODE_DELTA:
            return [*deltas, *self._more_code(index, event.get("delta"))]
        if kind == _CODE_DONE:
            # Some servers send no pieces. The assembler makes the event with the whole code of the pieces.
            whole = event.get("code")
            rest = whole[self._code[index] :] if isinstance(whole, str) else ""
            return [*deltas, *self._more_code(index, rest), ProviderItemProgress(index, kind)]
        return [*deltas, ProviderItemProgress(index, kind, {name: event.get(name) for name in names})]

    def _more_code(self, index: int, piece: object) -> list[Delta]:
        if not isinstance(piece, str) or not piece:
            return []
        self._code[index] += len(piece)
        return [ProviderItemProgress(index, _CODE_DELTA, {"delta": piece})]
