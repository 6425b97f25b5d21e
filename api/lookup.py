"""Responses by id, for their owner. A foreign id looks exactly like an unknown one, and takes as long: the owner of a
record is looked at before anything else of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from api.app_state import AppState
from open_responses.errors import ContextTooLarge, NotFound
from open_responses.ids import is_id
from open_responses.io.store.redis_store import Record, TooLong

# Of a chain that is searched: as many records as are in memory before the first is looked at.
_READ_AT_ONCE = 16


async def owned_record(state: AppState, tenant: str, response_id: str) -> Record:
    """Raises NotFound for what is unknown, another tenant's, or not stored (REQ-9)."""
    record = await _read(state, tenant, response_id, None)
    assert isinstance(record, Record), "no bound was given"
    return await state.records.settled(record)


class OwnedRecords:
    """The stored responses that one request names. Each is read once, however often it is named, and all of them
    together have a bound (`max_context_bytes`), which is looked at before they are read.

    What this prevents: a short request that names its own largest responses again and again.
    """

    def __init__(self, state: AppState, tenant: str) -> None:
        self._state = state
        self._tenant = tenant
        self._read: dict[str, Record] = {}
        self._left = state.settings.max_context_bytes

    async def get(self, response_id: str, param: str, *, anew: bool = False) -> Record:
        """Raises NotFound as `owned_record`, and ContextTooLarge, which names `param`. `anew`: it may have ended since
        it was read."""
        known = self._read.get(response_id)
        if known is not None and not anew:
            return known
        record = await _read(self._state, self._tenant, response_id, self._left)
        if isinstance(record, Record):
            # What goes on from it is to be whole: during an outage it is refused, and may be sent again.
            record = await self._state.records.settled(record, must_be_known=True)
            record = await self._state.records.with_ancestors(record)
        if isinstance(record, TooLong) or record.size > self._left:
            raise self._too_large(param)
        self._left -= record.size
        self._read[response_id] = record
        return record

    async def behind(self, record: Record, param: str) -> AsyncIterator[Record]:
        """The responses that this one continues, the newest first, as far as they are asked for. Raises
        ContextTooLarge."""
        newest_first = record.ancestors[::-1]
        unread = [one for one in newest_first if one not in self._read]
        if await self._state.records.size(unread) > self._left:
            raise self._too_large(param)
        for begin in range(0, len(newest_first), _READ_AT_ONCE):
            part = newest_first[begin : begin + _READ_AT_ONCE]
            await self._load(part, param)
            for one in part:
                if one in self._read:
                    yield self._read[one]

    async def _load(self, response_ids: Sequence[str], param: str) -> None:
        """Those of one chain have one owner, who was looked at with the newest."""
        unread = [one for one in response_ids if one not in self._read]
        for one, record in zip(unread, await self._state.records.load_ended(unread), strict=True):
            if record is None:
                continue
            self._left -= record.size
            if self._left < 0:
                raise self._too_large(param)
            self._read[one] = record

    def _too_large(self, param: str) -> ContextTooLarge:
        return ContextTooLarge(
            "The stored responses that this request names are together larger than "
            f"{self._state.settings.max_context_bytes} bytes. Name fewer, or send the items themselves.",
            param=param,
        )


async def _read(state: AppState, tenant: str, response_id: str, most_bytes: int | None) -> Record | TooLong:
    if not is_id("resp_", response_id):
        raise _unknown(response_id)
    record = await state.records.owned(response_id, tenant, most_bytes=most_bytes)
    if isinstance(record, TooLong):
        return record
    if record is None or not record.start.request.is_stored:
        raise _unknown(response_id)
    return record


def _unknown(response_id: str) -> NotFound:
    return NotFound(f"Response with id {response_id[:80]!r} not found.", param="response_id")
