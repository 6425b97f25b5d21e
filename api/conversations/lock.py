"""The lock of a conversation, which one response holds from its start to its end.

Without the lock, two responses could answer the same conversation at once. The next request frees a lock whose
response was never started, or ended without releasing it; otherwise the conversation would stay locked for good.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from api.app_state import AppState
from api.conversations.access import Busy, OwnedConversation, owned_conversation
from api.idempotency import AlreadyBegun, IdempotencyKey
from open_responses.context.call_pairing import check_calls_are_answered
from open_responses.conversations.payloads import (
    RELEASE_LOCK,
    SETTLE_LOCK,
    TAKE_LOCK,
    ConversationState,
    LockHolder,
    ResponseEnd,
    TakeLock,
)
from open_responses.conversations.snapshot import remembered
from open_responses.conversations.state import end_of_response
from open_responses.errors import OpenResponsesError
from open_responses.io.store.records import Record
from open_responses.io.temporal.describe import describe
from open_responses.io.temporal.large_payloads import ClaimBroken
from open_responses.io.temporal.payload_keys import PayloadUnreadable
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import Remembered
from open_responses.schema.requests import CreateResponse

log = structlog.get_logger(__name__)

# Far longer than a start takes (`start_patience_seconds`).
_START_TAKES_SECONDS = 60.0
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class ReadConversation:
    """A conversation as one request has read it."""

    owned: OwnedConversation
    state: ConversationState

    @property
    def items(self) -> Sequence[JsonObject]:
        return self.state.items

    @property
    def remembered(self) -> Remembered | None:
        """The part of the conversation that the response reads."""
        return remembered(self.state)

    def check_continues(self, asked: CreateResponse) -> None:
        """Raises InvalidRequest if the input leaves a call unanswered, or has an output without a call."""
        check_calls_are_answered(asked.input_items(), self.items, left_open=self.state.left_open)

    async def take_lock(self, response_id: str) -> None:
        """Take the lock. Raises Busy if another request was faster, AlreadyBegun if this response has ended."""
        call = TakeLock(response_id=response_id, revision=self.state.revision, at=time.time())
        await self.owned.change(TAKE_LOCK, call)


async def read_conversation(state: AppState, tenant: str, asked: CreateResponse) -> ReadConversation | None:
    """The conversation that a request names, as it is now. Raises NotFound."""
    if asked.conversation_id is None:
        return None
    owned = await owned_conversation(state, tenant, asked.conversation_id, "conversation")
    return ReadConversation(owned, await owned.state())


async def unlocked_conversation(
    state: AppState, tenant: str, asked: CreateResponse, key: IdempotencyKey | None
) -> ReadConversation | None:
    """The conversation, if its lock is free or held by this request's own response.

    Raises NotFound, Busy, and AlreadyBegun for an `Idempotency-Key` whose response has ended.
    """
    found = await read_conversation(state, tenant, asked)
    for _ in range(_ROUNDS):
        if found is None:
            return None
        if key is not None and key.response_id in found.state.ended:
            raise AlreadyBegun
        holder = found.state.lock
        if holder is None or (key is not None and holder.response_id == key.response_id):
            return found
        await free_stale_lock(state, found.owned, holder)
        found = ReadConversation(found.owned, await found.owned.state())
    raise Busy("Other responses hold the lock of this conversation. Send your request again when they have ended.")


async def free_stale_lock(state: AppState, conversation: OwnedConversation, holder: LockHolder) -> None:
    """Free a lock whose response ended without releasing it, or was never started. Raises Busy for any other."""
    description = await describe(state.temporal, holder.response_id)
    if description is None:
        if time.time() - holder.began_at < _START_TAKES_SECONDS:
            raise _busy(holder)
        log.info("conversation_lock_released", conversation_id=conversation.id, response_id=holder.response_id)
        await conversation.change(RELEASE_LOCK, holder.response_id)
    elif description.status == WorkflowExecutionStatus.RUNNING:
        raise _busy(holder)
    else:
        log.info("conversation_lock_settled", conversation_id=conversation.id, response_id=holder.response_id)
        await conversation.change(SETTLE_LOCK, await _end_of(state, holder.response_id))


async def release_lock(state: AppState, conversation: OwnedConversation, response_id: str) -> None:
    """Release the lock of a response that is not started. If that fails, the next request frees it."""
    with contextlib.suppress(RPCError, OpenResponsesError):
        if await describe(state.temporal, response_id) is None:
            await conversation.change(RELEASE_LOCK, response_id)


async def was_left_behind(state: AppState, record: Record) -> bool:
    """Whether a request with an `Idempotency-Key` was stored, but its response not started.

    Its conversation may have changed since, and has to be read again.
    """
    if record.start.request.conversation_id is None or record.response is not None:
        return False
    return await describe(state.temporal, record.start.response_id) is None


async def _end_of(state: AppState, response_id: str) -> ResponseEnd:
    """The items that an ended response adds to its conversation: none, if it did not finish."""
    try:
        start, finished = await state.records.request(response_id), await state.records.finished(response_id)
    except (PayloadUnreadable, ClaimBroken):
        start = finished = None
    if start is None or finished is None:
        return ResponseEnd(response_id=response_id)
    return end_of_response(start, finished.response["status"], finished.response["output"])


def _busy(holder: LockHolder) -> Busy:
    return Busy(
        f"Response {holder.response_id} of this conversation has not ended yet. Send your request again when it has."
    )
