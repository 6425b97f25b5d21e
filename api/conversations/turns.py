"""A response's turn in its conversation: what it reads, how it gets the turn, and what becomes of a turn whose response
is not there any more.

What this prevents: a conversation that waits for ever for a response which was never started, or which ended without a
word; and two answers to the same conversation at once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

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
    """A conversation as a request has read it."""

    owned: OwnedConversation
    state: ConversationState

    @property
    def items(self) -> Sequence[JsonObject]:
        return self.state.items

    @property
    def remembered(self) -> Remembered | None:
        """What the response reads of it."""
        return remembered(self.state)

    def check_continues(self, asked: CreateResponse) -> None:
        """Raises InvalidRequest for calls that the input does not answer, and for outputs without a call."""
        check_calls_are_answered(asked.input_items(), self.items, left_open=self.state.left_open)

    async def take_turn(self, response_id: str) -> None:
        """Raises Busy when another request was faster, and AlreadyBegun when this response has had its turn."""
        call = BeginTurn(response_id=response_id, revision=self.state.revision, at=time.time())
        await self.owned.change("begin_turn", call)


async def read_conversation(state: AppState, tenant: str, asked: CreateResponse) -> ReadConversation | None:
    """The conversation that a request names, as it stands. Raises NotFound."""
    if asked.conversation_id is None:
        return None
    owned = await owned_conversation(state, tenant, asked.conversation_id, "conversation")
    return ReadConversation(owned, await owned.state())


async def conversation_for_turn(
    state: AppState, tenant: str, asked: CreateResponse, key: IdempotencyKey | None
) -> ReadConversation | None:
    """The conversation, if it is nobody's turn or this request's own already.

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
    """Take a turn from a response that has ended without a word, or was never started. Raises Busy for any other."""
    description = await _describe(state, turn.response_id)
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
    """The response does not begin. Best effort: what stays taken is freed by whoever comes next."""
    with contextlib.suppress(RPCError, OpenResponsesError):
        if await _describe(state, response_id) is None:
            await conversation.change("release_turn", response_id)


async def was_left_behind(state: AppState, record: Record) -> bool:
    """Whether a request with an `Idempotency-Key` was kept, and its response not started: its conversation may have
    gone on since, so that it has to be read again."""
    if record.start.request.conversation_id is None or record.response is not None:
        return False
    return await _describe(state, record.start.response_id) is None


async def _end_of(state: AppState, response_id: str) -> EndTurn:
    """What a response that has ended adds, as it would have said itself: nothing, if it did not come to its end."""
    try:
        start, finished = await state.records.request(response_id), await state.records.finished(response_id)
    except (PayloadUnreadable, ClaimBroken):
        start = finished = None
    if start is None or finished is None:
        return EndTurn(response_id=response_id)
    return end_of_turn(start, finished.response["status"], finished.response["output"])


async def _describe(state: AppState, response_id: str) -> WorkflowExecutionDescription | None:
    try:
        return await state.temporal.get_workflow_handle(response_id).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


def _busy(turn: Turn) -> Busy:
    return Busy(f"Response {turn.response_id} of this conversation has not ended yet. Try again when it has.")
