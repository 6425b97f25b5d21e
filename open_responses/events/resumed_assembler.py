"""Assembles an answer that is read again from its beginning after a crash, and skips the events in the log.

Providers with `resume = "background"` store the stream of an answer and send it again. Their deltas may be cut
differently the second time, so the text is compared by length and not by delta. Ids follow from indexes (`Assembler`),
so both readings have the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from typing_extensions import override

from open_responses.deltas import Delta
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.events.item_emitter import ItemStatus
from open_responses.json_types import JsonObject
from open_responses.tool_use.tool_table import ToolTable


class ResumedAssembler(Assembler):
    """An assembler on top of the output before the model turn. It returns only events behind the end of the log.

    `fold` is the log's, as for any assembler; the second reading has a fold of its own. `logged` are the turn's events
    in the log.
    """

    def __init__(
        self,
        fold: Fold,
        tool_table: ToolTable,
        response_id: str,
        *,
        before: Sequence[JsonObject],
        logged: Iterable[JsonObject],
    ) -> None:
        super().__init__(Fold(before), tool_table, response_id)
        self._log_fold = fold
        self._logged: Counter[_Position] = Counter()
        for event in logged:
            self._logged[_position(event)] += _size(event)

    @override
    def feed(self, delta: Delta) -> list[JsonObject]:
        return self._fresh(super().feed(delta))

    @override
    def close(self, status: ItemStatus) -> list[JsonObject]:
        return self._fresh(super().close(status))

    @override
    def abandon(self) -> list[JsonObject]:
        return self._fresh(super().abandon())

    def _fresh(self, events: list[JsonObject]) -> list[JsonObject]:
        fresh = [rest for event in events if (rest := self._rest(event)) is not None]
        for event in fresh:
            self._log_fold.apply(event)
        return fresh

    def _rest(self, event: JsonObject) -> JsonObject | None:
        """Return the part of an event that the log does not have, or None."""
        position, size = _position(event), _size(event)
        known = min(self._logged[position], size)
        self._logged[position] -= known
        if known == size:
            return None
        if known == 0:
            return event
        return {**event, "delta": event["delta"][known:], **({"logprobs": []} if "logprobs" in event else {})}


_Position = tuple[str, int, int, int]


def _position(event: JsonObject) -> _Position:
    """Return the position of an event in the stream. Events of the same position differ only by their order."""
    part = event["summary_index"] if "summary_index" in event else event.get("content_index", -1)
    return event["type"], event.get("output_index", -1), part, event.get("annotation_index", -1)


def _size(event: JsonObject) -> int:
    """Return the characters of a delta; 1 for any other event, and for a delta with log probabilities alone."""
    delta = event.get("delta")
    return len(delta) or 1 if isinstance(delta, str) else 1
