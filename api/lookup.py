"""Reads stored responses by id, for the tenant that owns them.

Another tenant's id gets the same answer as an unknown one, after the same time: the owner of a record is compared
before anything else of the record is read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from api.app_state import AppState
from open_responses.errors import ContextTooLarge, NotFound
from open_responses.ids import is_id
from open_responses.io.store.records import Record, TooLong

# Records of a chain that are read together: so many are in memory before the first is searched.
_READ_AT_ONCE = 16


async def owned_record(state: AppState, tenant: str | None, response_id: str, *, decided: bool = False) -> Record:
    """One response. Raises NotFound if it is unknown, another tenant's, or not stored (REQ-9).

    `tenant`: None for an operator, who reads the responses of every tenant (`Caller.reads_of`).
    `decided`: its status is shown, so a response whose end was announced must have that end (`Records.settled`).
    """
    record = await _read(state, tenant, response_id, None)
    assert isinstance(record, Record), "no bound was given"
    return await state.records.settled(record, decided=decided)


class OwnedRecords:
    """The stored responses that one request names.

    Each is read once, however often the request names it. Their sizes together are compared with `max_context_bytes`
    before they are read. Without that, a short request could name its tenant's largest responses again and again.
    """

    def __init__(self, state: AppState, tenant: str) -> None:
        self._state = state
        self._tenant = tenant
        self._read: dict[str, Record] = {}
        self._left = state.settings.max_context_bytes

    @property
    def loaded(self) -> Mapping[str, Record]:
        """The records that were read, by id."""
        return self._read

    async def get(self, response_id: str, param: str) -> Record:
        """One response. Raises NotFound as `owned_record` does, and ContextTooLarge, which names `param`."""
        known = self._read.get(response_id)
        if known is not None:
            return known
        record = await _read(self._state, self._tenant, response_id, self._left)
        if isinstance(record, Record):
            # A continuation needs the whole record. During an outage the request is refused, and can be sent again.
            record = await self._state.records.settled(record, decided=True, must_be_known=True)
            record = await self._state.records.with_ancestors(record)
        if isinstance(record, TooLong) or record.size > self._left:
            raise self._too_large(param)
        self._left -= record.size
        self._read[response_id] = record
        return record

    async def behind(self, record: Record, param: str) -> AsyncIterator[Record]:
        """The responses that `record` continues, newest first, read as the caller iterates. Raises ContextTooLarge."""
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
        """Load responses of one chain. They have one owner, which was compared with the newest."""
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
            "The stored responses that your request names are together larger than "
            f"{self._state.settings.max_context_bytes} bytes. Name fewer, or send the items themselves.",
            param=param,
        )


async def _read(state: AppState, tenant: str | None, response_id: str, most_bytes: int | None) -> Record | TooLong:
    if not is_id("resp_", response_id):
        raise _unknown(response_id)
    record: Record | TooLong | None
    if tenant is None:
        record = await state.records.load(response_id)
    else:
        record = await state.records.owned(response_id, tenant, most_bytes=most_bytes)
    if isinstance(record, TooLong):
        return record
    if record is None or not record.start.request.is_stored:
        raise _unknown(response_id)
    return record


def _unknown(response_id: str) -> NotFound:
    return NotFound(f"Response with id {response_id[:80]!r} not found.", param="response_id")
