"""Responses by id, for their owner. A foreign id looks exactly like an unknown one, and takes as long."""

from __future__ import annotations

from api.app_state import AppState
from open_responses.errors import NotFound
from open_responses.ids import is_id, new_id
from open_responses.io.store import Record


async def owned_record(state: AppState, tenant: str, response_id: str) -> Record:
    """Raises NotFound for what is unknown, another tenant's, or not stored (REQ-9)."""
    if not is_id("resp_", response_id):
        raise _unknown(response_id)
    record = await state.records.load(response_id)
    if record is not None and record.start.tenant != tenant:
        # An unknown id is looked for in Temporal as well, which takes longer than to find another tenant's in Redis.
        await state.records.load(new_id("resp_"))
        record = None
    if record is None or not record.start.request.is_stored:
        raise _unknown(response_id)
    return await state.records.settled(record)


def _unknown(response_id: str) -> NotFound:
    return NotFound(f"Response with id {response_id[:80]!r} not found.", param="response_id")
