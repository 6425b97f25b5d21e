"""A conversation's turn: the lock that one response holds from its start to its end.

Without the lock, two responses could answer the same conversation at once. A turn whose response was never started, or
ended without giving the turn back, is freed by the next request; otherwise the conversation would be locked for good.
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
from open_responses.conversations.snapshot import remembered
from open_responses.conversations.state import (
    BeginTurn,
    ConversationState,
    EndTurn,
    Turn,
    end_of_turn,
)
from open_responses.errors import OpenResponsesError
from open_responses.io.store.redis_store import Record
from open_responses.io.temporal.describe import describe
from open_responses.io.temporal.large_payloads import ClaimBroken
from open_responses.io.temporal.payload_keys import PayloadUnreadable
from open_responses.json_types import JsonObject
from open_responses.loop.payloads import Remembered
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

    async def take_turn(self, response_id: str) -> None:
        """Take the turn. Raises Busy if another request was faster, AlreadyBegun if this response has had its turn."""
        call = BeginTurn(response_id=response_id, revision=self.state.revision, at=time.time())
        await self.owned.change("begin_turn", call)


async def read_conversation(state: AppState, tenant: str, asked: CreateResponse) -> ReadConversation | None:
    """The conversation that a request names, as it is now. Raises NotFound."""
    if asked.conversation_id is None:
        return None
    owned = await owned_conversation(state, tenant, asked.conversation_id, "conversation")
    return ReadConversation(owned, await owned.state())


async def conversation_for_turn(
    state: AppState, tenant: str, asked: CreateResponse, key: IdempotencyKey | None
) -> ReadConversation | None:
    """The conversation, if its turn is free or held by this request's own response.

    Raises NotFound, Busy, and AlreadyBegun for an `Idempotency-Key` whose response has had its turn.
    """
    found = await read_conversation(state, tenant, asked)
    for _ in range(_ROUNDS):
        if found is None:
            return None
        if key is not None and key.response_id in found.state.ended:
            raise AlreadyBegun
        turn = found.state.turn
        if turn is None or (key is not None and turn.response_id == key.response_id):
            return found
        await free_turn(state, found.owned, turn)
        found = ReadConversation(found.owned, await found.owned.state())
    raise Busy("Other responses take their turns in this conversation. Try again.")


async def free_turn(state: AppState, conversation: OwnedConversation, turn: Turn) -> None:
    """Free a turn whose response ended without giving it back, or was never started. Raises Busy for any other."""
    description = await describe(state.temporal, turn.response_id)
    if description is None:
        if time.time() - turn.began_at < _START_TAKES_SECONDS:
            raise _busy(turn)
        log.info("turn_released", conversation_id=conversation.id, response_id=turn.response_id)
        await conversation.change("release_turn", turn.response_id)
    elif description.status == WorkflowExecutionStatus.RUNNING:
        raise _busy(turn)
    else:
        log.info("turn_settled", conversation_id=conversation.id, response_id=turn.response_id)
        await conversation.change("settle_turn", await _end_of(state, turn.response_id))


async def give_back_turn(state: AppState, conversation: OwnedConversation, response_id: str) -> None:
    """Give back the turn of a response that is not started. If that fails, the next request frees it."""
    with contextlib.suppress(RPCError, OpenResponsesError):
        if await describe(state.temporal, response_id) is None:
            await conversation.change("release_turn", response_id)


async def was_left_behind(state: AppState, record: Record) -> bool:
    """Whether a request with an `Idempotency-Key` was stored, but its response not started.

    Its conversation may have changed since, and has to be read again.
    """
    if record.start.request.conversation_id is None or record.response is not None:
        return False
    return await describe(state.temporal, record.start.response_id) is None


async def _end_of(state: AppState, response_id: str) -> EndTurn:
    """The items that an ended response adds to its conversation: none, if it did not finish."""
    try:
        start, finished = await state.records.request(response_id), await state.records.finished(response_id)
    except (PayloadUnreadable, ClaimBroken):
        start = finished = None
    if start is None or finished is None:
        return EndTurn(response_id=response_id)
    return end_of_turn(start, finished.response["status"], finished.response["output"])


def _busy(turn: Turn) -> Busy:
    return Busy(f"Response {turn.response_id} of this conversation has not ended yet. Try again when it has.")
