"""Checks the deltas that an adapter made of one event, whose members may have any type.

What this prevents: an answer that fails unexpectedly, in another part of the server, because one number in it is a
text, or one text a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from open_responses.deltas import (
    Delta,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)


class UnsoundDelta(TypeError):
    """A delta has a member of another type than its class says."""


def sound(deltas: Sequence[Delta]) -> list[Delta]:
    """Return the deltas. An id of a call that is a number becomes a text, and a citation without an address is left
    out. Raises UnsoundDelta for a text that is none."""
    checked = (_checked(delta) for delta in deltas)
    return [delta for delta in checked if delta is not None]


def are_plain(deltas: Sequence[Delta]) -> bool:
    """Whether these are pieces of text and nothing else, which nearly all deltas are: sound, and with no name in it."""
    for delta in deltas:  # noqa: SIM110 - each piece of text comes by here, and a generator costs as much as the rest
        if type(delta) is not TextDelta or type(delta.text) is not str:
            return False
    return True


def _checked(delta: Delta) -> Delta | None:
    match delta:
        case TextDelta() | RefusalDelta() | ReasoningDelta() | ReasoningSummaryDelta():
            if not isinstance(delta.text, str):
                raise UnsoundDelta
        case ToolCallDelta():
            return _checked_call(delta)
        case TextAnnotation(annotation={"type": "url_citation"}):
            return _checked_citation(delta)
        case TextAnnotation():
            return delta if isinstance(delta.annotation.get("type"), str) else None
    return delta


def _checked_call(delta: ToolCallDelta) -> ToolCallDelta:
    if not isinstance(delta.arguments, str) or not isinstance(delta.name, str | None):
        raise UnsoundDelta
    if isinstance(delta.call_id, str | None):
        return delta
    # Ids are only compared, so that a number serves as well.
    return replace(delta, call_id=str(delta.call_id) if isinstance(delta.call_id, int) else None)


def _checked_citation(delta: TextAnnotation) -> TextAnnotation | None:
    given = delta.annotation
    if not isinstance(given.get("url"), str):
        return None
    title = given.get("title")
    places = {name: _place(given.get(name)) for name in ("start_index", "end_index")}
    return TextAnnotation({**given, **places, "title": title if isinstance(title, str) else ""})


def _place(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
