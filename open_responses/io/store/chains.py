"""The conversation behind a response: the items of all its ancestors, oldest first (REQ-1).

What each response said is remembered, since it never changes: a chain of 500 is not read again for each new link. It is
taken from memory only while the store still has the response, so that one that was deleted is gone here as well.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from open_responses.context.abandoned_items import without_partials
from open_responses.context.excerpt import readable
from open_responses.errors import PreviousResponseNotFound
from open_responses.io.store.redis_store import Record
from open_responses.io.store.repository import Records
from open_responses.json_types import JsonObject
from open_responses.loop.payloads import Remembered, RememberedExchange
from open_responses.schema.items import INPUT_ITEM, InputItem
from open_responses.schema.off_loop import LARGE_BYTES, off_loop

# Over all chains. Each object of its JSON is about 1.5 kB of Python's beside its text.
_REMEMBERED_BYTES = 64 * 2**20
_OBJECT_BYTES = 1500
# A tombstone lasts longer: what was deleted, and then written anew under the same idempotency key, is read anew.
_REMEMBERED_SECONDS = 3600.0


class Said(NamedTuple):
    """What one response adds to its chain, and how much memory that takes at most."""

    items: list[InputItem]
    size: int
    read_at: float

    @property
    def is_fresh(self) -> bool:
        return time.monotonic() - self.read_at < _REMEMBERED_SECONDS


class Chains:
    """Loads chains from the store, and from Temporal where the store has lost them."""

    def __init__(self, records: Records, *, remembered_bytes: int = _REMEMBERED_BYTES) -> None:
        self._records = records
        self._limit = remembered_bytes
        self._remembered: OrderedDict[str, Said] = OrderedDict()
        self._size = 0

    async def items(self, ancestors: Sequence[str], loaded: Mapping[str, Record] | None = None) -> list[InputItem]:
        """What these responses said, inputs and outputs. Those that are `loaded` with their end are not read again.

        Raises PreviousResponseNotFound for one that is gone, and RPCError or RedisDown's family for one that is not to
        be had now.
        """
        known = {one: said for one in ancestors if (said := self._remembered.get(one)) is not None and said.is_fresh}
        for lost in await self._records.missing(list(known)):
            del known[lost]
            self._forget(lost)
        unknown = [one for one in ancestors if one not in known]
        records = await self._load(unknown, loaded or {})
        # What they read of their conversation goes with it, so it is not remembered here.
        conversations: set[str] = set()
        for one in unknown:
            record = records[one]
            if record is None:
                raise PreviousResponseNotFound(f"response {one}, earlier in the chain, is gone")
            remembered = record.start.remembered if b'"pieces":' in record.written else None
            expanded = await self._records.pieces.expanded(remembered)
            # What a conversation's pieces hold may be larger than the record that names them.
            size = record.size if expanded is None else max(record.size, LARGE_BYTES + 1)
            known[one] = await off_loop(size, _said, record, expanded)
            if remembered is not None and remembered.pieces:
                conversations.add(one)
        self._remember(known, [one for one in ancestors if one not in conversations])
        return [item for one in ancestors for item in known[one].items]

    async def _load(self, response_ids: Sequence[str], loaded: Mapping[str, Record]) -> dict[str, Record | None]:
        have = {one: loaded[one] for one in response_ids if one in loaded and loaded[one].response is not None}
        unread = [one for one in response_ids if one not in have]
        return {**have, **dict(zip(unread, await self._records.load_ended(unread), strict=True))}

    def _remember(self, known: dict[str, Said], ancestors: Sequence[str]) -> None:
        for one in ancestors:
            self._forget(one)
            self._remembered[one] = known[one]
            self._size += known[one].size
        while self._size > self._limit:
            self._forget(next(iter(self._remembered)))

    def _forget(self, response_id: str) -> None:
        said = self._remembered.pop(response_id, None)
        self._size -= said.size if said is not None else 0


async def remembered_items(remembered: Remembered | None) -> list[InputItem]:
    """Turns that are stored nowhere else, as items."""
    if remembered is None or not remembered.turns:
        return []
    # Nobody has counted their bytes.
    return await off_loop(LARGE_BYTES + 1, _items_of_turns, remembered.turns)


def _items_of_turns(turns: Sequence[RememberedExchange]) -> list[InputItem]:
    return [item for turn in turns for item in _validated([*turn.input, *_readable(turn.output)])]


def _validated(written: Sequence[JsonObject]) -> list[InputItem]:
    """Each by itself: other threads get the interpreter in between."""
    return [INPUT_ITEM.validate_python(item) for item in written]


def _said(record: Record, remembered: Remembered | None) -> Said:
    """What a response adds to its chain: turns that are stored nowhere else, its input and its output.

    Of the start only that is read: all of it takes ten times as long. `remembered` are the turns where they are not all
    in the start itself.
    """
    start: JsonObject = orjson.loads(record.written)
    written: list[JsonObject] = []
    if remembered is not None:
        start["remembered"] = remembered.model_dump()
    for turn in (start.get("remembered") or {}).get("turns", ()):
        written += [*turn["input"], *_readable(turn["output"])]
    given = start["request"]["input"]
    if not isinstance(given, str):
        written += given
    elif given or not start.get("is_compaction"):
        written.append({"type": "message", "role": "user", "content": given})
    written += _readable(record.output)
    items = _validated(written)
    size = sum(len(part) + _OBJECT_BYTES * part.count(b"{") for part in (record.written, record.response or b""))
    return Said(items, size, time.monotonic())


def _readable(output: Sequence[JsonObject]) -> list[JsonObject]:
    return [readable(item) for item in without_partials(output, keep_last=True)]
