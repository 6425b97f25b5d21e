"""The context that a response continues: the items of all its ancestors, oldest first (REQ-1).

The items of each response are cached, since they never change. Without the cache, each new response would read a chain
of 500 again. A cached response is used only while the store still has it, so a deleted one is not read from the cache.
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
from open_responses.io.store.records import Record
from open_responses.io.store.repository import Records
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import Remembered, RememberedExchange
from open_responses.schema.items import INPUT_ITEM, InputItem
from open_responses.schema.off_loop import LARGE_BYTES, off_loop

# For all chains together. Each JSON object takes about 1.5 kB as Python objects, beside its text.
_REMEMBERED_BYTES = 64 * 2**20
_OBJECT_BYTES = 1500
# Shorter than a tombstone lasts: a response that was deleted and begun again under its idempotency key is read again.
_REMEMBERED_SECONDS = 3600.0


class Said(NamedTuple):
    """The items that one response adds to its chain. `size` is an upper estimate of their memory, in bytes."""

    items: list[InputItem]
    size: int
    read_at: float

    @property
    def is_fresh(self) -> bool:
        """Whether the cached items may still be used."""
        return time.monotonic() - self.read_at < _REMEMBERED_SECONDS


class Chains:
    """Loads chains from the store, and from Temporal where the store has lost them."""

    def __init__(self, records: Records, *, remembered_bytes: int = _REMEMBERED_BYTES) -> None:
        self._records = records
        self._limit = remembered_bytes
        self._remembered: OrderedDict[str, Said] = OrderedDict()
        self._size = 0

    async def items(self, ancestors: Sequence[str], loaded: Mapping[str, Record] | None = None) -> list[InputItem]:
        """The inputs and outputs of these responses.

        Args:
            ancestors: The ids, oldest first.
            loaded: Records that the caller has. Those with a final response are not read again.

        Raises:
            PreviousResponseNotFound: A response is gone.
            RPCError, RedisDown: A response cannot be read now.
        """
        known = {one: said for one in ancestors if (said := self._remembered.get(one)) is not None and said.is_fresh}
        for lost in await self._records.missing(list(known)):
            del known[lost]
            self._forget(lost)
        unknown = [one for one in ancestors if one not in known]
        records = await self._load(unknown, loaded or {})
        # Items of a conversation are not cached: they have to go when the conversation is deleted.
        conversations: set[str] = set()
        for one in unknown:
            record = records[one]
            if record is None:
                raise PreviousResponseNotFound(f"response {one}, earlier in the chain, is gone")
            remembered = record.start.remembered if b'"pieces":' in record.written else None
            expanded = await self._records.pieces.expanded(remembered)
            # The files of a conversation may be larger than the record that names them.
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
    """The items of exchanges that are not stored as responses."""
    if remembered is None or not remembered.turns:
        return []
    # Their size is not known, so they are treated as large.
    return await off_loop(LARGE_BYTES + 1, _items_of_exchanges, remembered.turns)


def _items_of_exchanges(exchanges: Sequence[RememberedExchange]) -> list[InputItem]:
    return [item for exchange in exchanges for item in _validated([*exchange.input, *_readable(exchange.output)])]


def _validated(written: Sequence[JsonObject]) -> list[InputItem]:
    """The items as models, validated one by one, so that other threads get the interpreter in between."""
    return [INPUT_ITEM.validate_python(item) for item in written]


def _said(record: Record, remembered: Remembered | None) -> Said:
    """The items that a response adds to its chain: exchanges that are not stored as responses, its input, its output.

    Reads the start's JSON, since its model takes ten times as long. `remembered` has the exchanges if they are not all
    in the start itself.
    """
    start: JsonObject = orjson.loads(record.written)
    written: list[JsonObject] = []
    if remembered is not None:
        start["remembered"] = remembered.model_dump()
    for exchange in (start.get("remembered") or {}).get("turns", ()):
        written += [*exchange["input"], *_readable(exchange["output"])]
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
