"""Queries and updates of conversations by id, through Temporal, for the tenant that owns them.

Another tenant's id gets the same answer as an unknown one, after the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import QueryRejectCondition
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.app_state import AppState
from api.conversation_entries import KnownEntries
from api.idempotency import AlreadyBegun
from api.updates import QUERY_TIMEOUT, send_update
from open_responses.conversations.payloads import ConversationPart, ConversationState, Page, PageQuery
from open_responses.conversations.state import ALREADY_ENDED, BUSY, CHANGED, FULL, GONE, ITEM_ID_TAKEN, ITEM_NOT_FOUND
from open_responses.errors import Conflict, InvalidRequest, NotFound, Unavailable
from open_responses.ids import is_id
from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload

T = TypeVar("T")

_ROUNDS = 3


class Busy(Conflict):
    """Another response holds the conversation's lock, or changed the conversation meanwhile."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=BUSY, param="conversation", retry_after=1)


@dataclass(frozen=True, slots=True)
class OwnedConversation:
    """A conversation of the caller's tenant. `param` is the parameter that errors about its id name."""

    client: Client
    id: str
    param: str
    known: KnownEntries

    async def state(self) -> ConversationState:
        """The conversation with all items. Raises Busy if it changes during each of several reads."""
        for _ in range(_ROUNDS):
            summary = await self.summary()
            if summary.count < 0:
                # A worker of an earlier version answered, which has no `part` query.
                return await self._ask("state", ConversationState)
            entries = await self.known.read(summary, lambda query: self._ask("part", ConversationPart, query))
            if entries is not None:
                return summary.model_copy(update={"entries": entries})
        raise Busy("Another request changed the conversation at the same moment. Send yours again.")

    async def summary(self) -> ConversationState:
        """The conversation without its items."""
        return await self._ask("summary", ConversationState)

    async def page(self, query: PageQuery) -> Page:
        return await self._ask("page", Page, query)

    async def item(self, item_id: str) -> JsonObject:
        """One item. Raises NotFound."""
        found: JsonObject | None = await self._ask("item", dict, item_id)
        if found is None:
            raise _no_item(f"Item with id {item_id[:80]!r} not found in this conversation. Check the id.")
        return found

    async def change(self, name: str, *args: Payload | str) -> None:
        """Send an update.

        Raises Busy, InvalidRequest, NotFound or AlreadyBegun if the conversation refuses it, and Unavailable if no
        worker accepts it in time. It may still take effect after Unavailable.
        """
        try:
            await send_update(self.client, self.id, name, *args)
        except WorkflowUpdateFailedError as error:
            raise self._refusal(error) from None
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                raise _unknown(self.id, self.param) from None
            raise
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise Unavailable(
                "The conversation does not answer. Send your request again in a second.", retry_after=1
            ) from error

    async def _ask(self, name: str, result: type[T], *args: Payload | str) -> T:
        handle = self.client.get_workflow_handle(self.id)
        for _ in range(_ROUNDS):
            try:
                answer: T = await handle.query(
                    name,
                    args=list(args),
                    result_type=result,
                    reject_condition=QueryRejectCondition.NOT_OPEN,
                    rpc_timeout=QUERY_TIMEOUT,
                )
            except WorkflowQueryRejectedError as rejected:
                # The run that was asked has handed over to the next.
                if rejected.status == WorkflowExecutionStatus.CONTINUED_AS_NEW:
                    continue
                raise _unknown(self.id, self.param) from None
            except RPCError as error:
                if error.status == RPCStatusCode.NOT_FOUND:
                    raise _unknown(self.id, self.param) from None
                raise
            return answer
        raise Busy("Other requests change the conversation at this moment. Send yours again.")

    def _refusal(self, error: WorkflowUpdateFailedError) -> Exception:
        cause = error.cause
        if not isinstance(cause, ApplicationError):
            return Unavailable(
                "The conversation could not be changed. Send your request again in a second.", retry_after=1
            )
        if cause.type in (BUSY, CHANGED):
            return Busy(cause.message)
        if cause.type == ALREADY_ENDED:
            return AlreadyBegun()
        if cause.type == GONE:
            return _unknown(self.id, self.param)
        if cause.type == ITEM_NOT_FOUND:
            return _no_item(cause.message)
        if cause.type in (FULL, ITEM_ID_TAKEN):
            param = self.param if cause.type == FULL else "items"
            return InvalidRequest(cause.message, param=param, code=cause.type)
        if cause.details:
            # The request is invalid; the first detail is its parameter.
            return InvalidRequest(cause.message, param=cause.details[0], code=cause.type)
        return Unavailable("The conversation could not be changed. Send your request again in a second.", retry_after=1)


async def owned_conversation(
    state: AppState, tenant: str, conversation_id: str, param: str = "conversation_id"
) -> OwnedConversation:
    """The conversation. Raises NotFound if it is unknown, deleted, or another tenant's.

    In each case this asks Temporal's server and no worker, so the answers take equally long.
    """
    if not is_id("conv_", conversation_id) or state.eraser.marks.is_hidden(conversation_id):
        raise _unknown(conversation_id, param)
    found = await state.records.owners.owned(conversation_id, tenant)
    if found is None or found.status != WorkflowExecutionStatus.RUNNING:
        raise _unknown(conversation_id, param)
    return OwnedConversation(state.temporal, conversation_id, param, state.known_entries)


def _unknown(conversation_id: str, param: str) -> NotFound:
    return NotFound(f"Conversation with id {conversation_id[:80]!r} not found.", param=param)


def _no_item(message: str) -> NotFound:
    return NotFound(message, param="item_id", code=ITEM_NOT_FOUND)
