"""What a request continues: a stored chain of responses, a conversation, or what a connection remembers."""

from __future__ import annotations

from dataclasses import dataclass

from api.app_state import AppState
from api.conversations.lock import ReadConversation
from api.lookup import OwnedRecords
from api.responses.held import HeldResponse
from open_responses.errors import InvalidRequest, NotFound, PreviousResponseNotFound
from open_responses.io.store.records import Record
from open_responses.loop.payloads.start import Remembered
from open_responses.schema.requests import CreateResponse


@dataclass(frozen=True, slots=True)
class Earlier:
    """What comes before a request: `ancestors`, the ids of stored responses, oldest first, and what its start has to
    carry. `stored_bytes` is how long the stored ones are, `remembered_bytes` the rest. `previous` is the newest stored
    one, where the request names it."""

    ancestors: tuple[str, ...] = ()
    remembered: Remembered | None = None
    stored_bytes: int = 0
    remembered_bytes: int = 0
    previous: Record | None = None


async def earlier_of(
    state: AppState,
    records: OwnedRecords,
    asked: CreateResponse,
    conversation: ReadConversation | None = None,
    held: HeldResponse | None = None,
) -> Earlier:
    """Raises InvalidRequest for a response that has not ended. An unknown `previous_response_id` is an error, never
    ignored (REQ-1)."""
    if conversation is not None:
        return Earlier(remembered=conversation.remembered, remembered_bytes=conversation.state.characters)
    if held is not None:
        return Earlier(held.ancestors, held.remembered, stored_bytes=held.stored_bytes, remembered_bytes=held.size)
    if asked.previous_response_id is not None:
        return await _chain(state, records, asked.previous_response_id)
    return Earlier()


async def _chain(state: AppState, records: OwnedRecords, previous: str) -> Earlier:
    param = "previous_response_id"
    try:
        record = await records.get(previous, param)
    except NotFound:
        raise PreviousResponseNotFound(
            f"Previous response with id {previous!r} not found. Check the id, or send the whole input.", param=param
        ) from None
    if await state.records.pieces.are_gone(record.start.remembered):
        raise PreviousResponseNotFound(
            f"Previous response {previous!r} belongs to a conversation that was deleted. Send the whole input.",
            param=param,
        )
    if record.response is None:
        raise InvalidRequest(
            f"Response {previous!r} is still in progress. Wait until it has ended before you continue it.",
            param=param,
            code="previous_response_in_progress",
        )
    before = record.start.earlier_bytes
    if before is None:
        # A start of an earlier version.
        before = await state.records.size(record.ancestors)
    return Earlier((*record.ancestors, previous), stored_bytes=before + record.size, previous=record)
