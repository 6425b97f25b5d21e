"""The conversation that a request continues, and the bound on all that it amounts to (`max_context_bytes`).

What this prevents: a short request behind which a worker has to read more than it has memory for. Nothing that is too
large is read to find out.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from temporalio.service import RPCError

from api.app_state import AppState
from api.conversations.turns import ReadConversation
from api.lookup import OwnedRecords
from api.responses.held import HeldResponse
from open_responses.context.call_pairing import check_calls_are_answered
from open_responses.errors import ContextTooLarge, InvalidRequest, NotFound, PreviousResponseNotFound
from open_responses.io.store.redis_store import Record
from open_responses.loop.payloads import Remembered
from open_responses.schema.requests import CreateResponse

_CLOSING_SECONDS = 0.5


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
    """Raises InvalidRequest for calls that the request leaves without an answer. An unknown `previous_response_id` is
    an error, never ignored (REQ-1)."""
    if conversation is not None:
        conversation.check_continues(asked)
        return Earlier(remembered=conversation.remembered, remembered_bytes=conversation.state.characters)
    if held is not None:
        return Earlier(
            held.ancestors_for(asked), held.remembered, stored_bytes=held.stored_bytes, remembered_bytes=held.size
        )
    return await _chain(state, records, asked)


def check_context(state: AppState, earlier: Earlier, input_bytes: int, asked: CreateResponse) -> None:
    """Raises ContextTooLarge."""
    limit = state.settings.max_context_bytes
    if earlier.stored_bytes + earlier.remembered_bytes + input_bytes <= limit:
        return
    if asked.conversation is not None:
        param, what = "conversation", "The conversation"
    elif asked.previous_response_id is not None:
        param, what = "previous_response_id", "The chain of responses"
    else:
        param, what = "input", "Nothing"
    raise ContextTooLarge(
        f"{what} and this input are together larger than {limit} bytes, which is as much as a response may go on from. "
        "Begin anew from the output of POST /v1/responses/compact, or from the newest items.",
        param=param,
    )


async def _chain(state: AppState, records: OwnedRecords, asked: CreateResponse) -> Earlier:
    previous, param = asked.previous_response_id, "previous_response_id"
    if previous is None:
        check_calls_are_answered(asked.input_items(), ())
        return Earlier()
    try:
        record = await records.get(previous, param)
    except NotFound:
        raise PreviousResponseNotFound(f"Previous response with id {previous!r} not found.", param=param) from None
    if await state.records.pieces.are_gone(record.start.remembered):
        raise PreviousResponseNotFound(
            f"Previous response {previous!r} answered a conversation that was deleted.", param=param
        )
    if record.response is None and await _is_closing(state, previous):
        # Its client has the answer already; the workflow has a millisecond to go, and Redis has lost the rest.
        await asyncio.sleep(_CLOSING_SECONDS)
        record = await records.get(previous, param, anew=True)
    if record.response is None:
        raise InvalidRequest(
            f"Response {previous!r} is still in progress; wait for its end to continue it.",
            param=param,
            code="previous_response_in_progress",
        )
    own = frozenset(tool.name for tool in record.start.hosted)
    check_calls_are_answered(asked.input_items(), record.output, own=own)
    before = record.start.earlier_bytes
    if before is None:
        # A start of an earlier version.
        before = await state.records.size(record.ancestors)
    return Earlier((*record.ancestors, previous), stored_bytes=before + record.size, previous=record)


async def _is_closing(state: AppState, response_id: str) -> bool:
    with contextlib.suppress(RPCError):
        return (await state.records.progress(response_id)).status != "in_progress"
    return False
