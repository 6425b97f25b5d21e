"""Keeps the shapes of a vendor's events of which an adapter made nothing, so that an operator can look at them.

What this prevents: an answer that is paid for and holds nothing, without a trace of what the vendor sent. Logs have no
contents of conversations (`open_responses/io/logs.py`), so a shape has the names of members, numbers, and the values of
members that label something; of any other text it has the length.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

# Members whose values are words of the vendor's protocol.
_LABELS = frozenset(
    {
        "code",
        "done_reason",
        "event",
        "finishReason",
        "finish_reason",
        "kind",
        "model",
        "modelVersion",
        "native_finish_reason",
        "object",
        "role",
        "status",
        "stop_reason",
        "type",
    }
)
_LONGEST_LABEL = 64
_MOST_MEMBERS = 24
_MOST_ITEMS = 4
_DEEPEST = 8
_LONGEST_SHAPE = 2_000
_FIRST, _LAST = 3, 2


class UnreadEvents:
    """The first events and the last ones of those without content. Their shapes are made at the end, if at all."""

    def __init__(self) -> None:
        self._first: list[Any] = []
        self._last: deque[Any] = deque(maxlen=_LAST)

    def keep(self, event: Any) -> None:
        (self._first if len(self._first) < _FIRST else self._last).append(event)

    def __bool__(self) -> bool:
        return bool(self._first)

    def shapes(self) -> list[str]:
        return [shape_of(event) for event in (*self._first, *self._last)]


def shape_of(event: Any) -> str:
    """Return an event as JSON without its texts, of at most 2,000 characters."""
    return json.dumps(_shape(event, "", 0), ensure_ascii=True)[:_LONGEST_SHAPE]


def _shape(value: Any, name: str, depth: int) -> Any:
    if isinstance(value, str):
        is_label = name in _LABELS and len(value) <= _LONGEST_LABEL
        return value if is_label else f"<{len(value)} characters>"
    if depth == _DEEPEST and isinstance(value, dict | list | tuple):
        return f"<{len(value)} members>"
    if isinstance(value, dict):
        shown = list(value.items())[:_MOST_MEMBERS]
        return {str(key)[:_LONGEST_LABEL]: _shape(inner, str(key), depth + 1) for key, inner in shown}
    if isinstance(value, list | tuple):
        return [_shape(inner, "", depth + 1) for inner in value[:_MOST_ITEMS]]
    return value
