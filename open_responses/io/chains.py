"""The conversation behind a response: the items of all its ancestors, oldest first (REQ-1).

Chains are remembered for their next response: a chain of 500 is not read again for each new link.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from open_responses.errors import PreviousResponseNotFound
from open_responses.excerpt import readable
from open_responses.io.records import Records
from open_responses.items import INPUT_ITEMS, InputItem
from open_responses.json_types import JsonObject
from open_responses.partials import without_partials
from open_responses.payloads import Remembered, StartResponse

# Items of chains kept in memory, over all chains: about 3 kB each.
_CACHED_ITEMS = 20_000


class Chains:
    """Loads chains from the store, and from Temporal where the store has lost them."""

    def __init__(self, records: Records) -> None:
        self._records = records
        self._known: OrderedDict[str, list[InputItem]] = OrderedDict()
        self._cached = 0

    async def items(self, ancestors: Sequence[str]) -> list[InputItem]:
        """What these responses said, inputs and outputs. Raises PreviousResponseNotFound for one that is gone."""
        known = next((i for i in range(len(ancestors), 0, -1) if ancestors[i - 1] in self._known), 0)
        items = list(self._known[ancestors[known - 1]]) if known else []
        missing = ancestors[known:]
        for ancestor_id, ancestor in zip(missing, await self._records.load_all(missing), strict=True):
            if ancestor is None:
                raise PreviousResponseNotFound(f"response {ancestor_id}, earlier in the chain, is gone")
            items += given_items(ancestor.start) + _read_output(ancestor.output)
        if missing:
            self._remember(ancestors[-1], items)
        return items

    def _remember(self, response_id: str, items: list[InputItem]) -> None:
        self._known[response_id] = list(items)
        self._cached += len(items)
        while self._cached > _CACHED_ITEMS and len(self._known) > 1:
            _, dropped = self._known.popitem(last=False)
            self._cached -= len(dropped)


def given_items(start: StartResponse) -> list[InputItem]:
    """What a response adds to its chain before its output: turns that are stored nowhere else, and its input."""
    return remembered_items(start.remembered) + start.input_items()


def remembered_items(remembered: Remembered | None) -> list[InputItem]:
    """Turns that are stored nowhere else, as items."""
    items: list[InputItem] = []
    for turn in remembered.turns if remembered is not None else ():
        items += INPUT_ITEMS.validate_python(turn.input) + _read_output(turn.output)
    return items


def _read_output(output: list[JsonObject]) -> list[InputItem]:
    return INPUT_ITEMS.validate_python([readable(item) for item in without_partials(output, keep_last=True)])
