"""An answer read again from its beginning, after a crash in its middle: what the log has already is passed over.

For providers that keep a stream and give it out again (`resume = "background"`). What this prevents: a repeat where the
provider cuts its deltas differently the second time. Ids follow from indexes (`Assembler`), so both readings agree.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from open_responses.deltas import Delta
from open_responses.events.assembler import Assembler, ItemStatus
from open_responses.events.fold import Fold
from open_responses.json_types import JsonObject
from open_responses.tool_use.tool_table import Offer


class Rereading(Assembler):
    """An assembler on top of the output before the turn, whose events are told only from where the log ends.

    `fold` is the log's, as for any assembler; the reading keeps its own. `logged` are the turn's events in the log.
    """

    def __init__(
        self, fold: Fold, offer: Offer, response_id: str, *, before: Sequence[JsonObject], logged: Iterable[JsonObject]
    ) -> None:
        super().__init__(Fold(before), offer, response_id)
        self._log_fold = fold
        self._logged: Counter[_Place] = Counter()
        for event in logged:
            self._logged[_place(event)] += _size(event)

    def feed(self, delta: Delta) -> list[JsonObject]:
        return self._fresh(super().feed(delta))

    def close(self, status: ItemStatus) -> list[JsonObject]:
        return self._fresh(super().close(status))

    def abandon(self) -> list[JsonObject]:
        return self._fresh(super().abandon())

    def _fresh(self, events: list[JsonObject]) -> list[JsonObject]:
        fresh = [rest for event in events if (rest := self._rest(event)) is not None]
        for event in fresh:
            self._log_fold.apply(event)
        return fresh

    def _rest(self, event: JsonObject) -> JsonObject | None:
        """What of an event the log does not have; None for nothing."""
        place, size = _place(event), _size(event)
        known = min(self._logged[place], size)
        self._logged[place] -= known
        if known == size:
            return None
        if known == 0:
            return event
        return {**event, "delta": event["delta"][known:], **({"logprobs": []} if "logprobs" in event else {})}


_Place = tuple[str, int, int, int]


def _place(event: JsonObject) -> _Place:
    """What an event is about. Two of the same place are told apart by their order alone."""
    part = event["summary_index"] if "summary_index" in event else event.get("content_index", -1)
    return event["type"], event.get("output_index", -1), part, event.get("annotation_index", -1)


def _size(event: JsonObject) -> int:
    """Characters of a delta; 1 for any other event, and for one of logprobs alone."""
    delta = event.get("delta")
    return len(delta) or 1 if isinstance(delta, str) else 1
