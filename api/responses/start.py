"""Start: write the request to the response store, and start its workflow with the response's id.

What this prevents: a request that is lost after its client has read that it was accepted, and two responses to one
`Idempotency-Key`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta

import structlog
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy

from api.admission.limits import priority_of
from api.app_state import AppState
from api.conversations.lock import release_lock
from api.errors import AGAIN_SECONDS, not_started
from api.idempotency import AlreadyBegun
from api.responses.approval_holds import let_go
from api.responses.prepare import Prepared
from open_responses.errors import Unavailable
from open_responses.io.background import in_background
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.records import Record
from open_responses.io.telemetry.responses import response_started
from open_responses.io.temporal import client
from open_responses.io.temporal.client import TemporalAway, TemporalDown
from open_responses.loop.markdown import plain
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.loop.payloads.start import StartResponse
from workflows.response import ResponseWorkflow

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 0.25
# Of the event loop: the command is given to the client for Redis in the first, and sent in the second.
_PASSES_TO_A_SENT_COMMAND = 2


class StartUnknown(Unavailable):
    """Temporal did not say whether the response has begun."""


async def start_response(state: AppState, prepared: Prepared) -> None:
    """Store the request and start its workflow.

    Raises Unavailable when Temporal stays away; then nothing has begun, unless it is a StartUnknown. Raises
    AlreadyBegun for an `Idempotency-Key` that another request has used meanwhile, and Conflict when the conversation
    is not any more what was read.
    """
    start = prepared.start
    metrics.request_started(start.request.model)
    try:
        await _lock_conversation_and_start(state, prepared)
    except AlreadyBegun:
        # The response that has begun has the same id: it holds the approvals, and gives the slot back at its end.
        raise
    except (StartUnknown, asyncio.CancelledError):
        # It may have begun, and act on its approvals; if not, their holds expire.
        await state.admission.doubt(start)
        raise
    except BaseException:
        await let_go(state, start.response_id, start.decisions)
        await state.admission.withdraw(start)
        raise


async def _lock_conversation_and_start(state: AppState, prepared: Prepared) -> None:
    """Last of all that may be refused, so that a conversation waits for nothing but a response."""
    start, conversation = prepared.start, prepared.conversation
    if conversation is None:
        await _store_and_start(state, start, prepared.ancestors)
        return
    await conversation.take_lock(start.response_id)
    try:
        await _store_and_start(state, start, prepared.ancestors)
    except AlreadyBegun:
        raise
    except BaseException:
        await release_lock(state, conversation.owned, start.response_id)
        raise


async def _store_and_start(state: AppState, start: StartResponse, ancestors: tuple[str, ...]) -> None:
    if start.nonce is not None and state.eraser.marks.is_hidden(start.response_id):
        # Deleted, also where Redis has lost the tombstone since: the store refuses it otherwise.
        raise AlreadyBegun
    await state.eraser.prepare(start)
    storing = in_background("store the request", _stored(state, start, ancestors))
    if start.nonce is not None and not await storing:
        # The store decides which of two requests under one key begins.
        raise AlreadyBegun
    # No other request without a key has this id. A sample that is earlier than the store finds the request in Temporal,
    # which takes longer: so the command to the store leaves this process first.
    for _ in range(_PASSES_TO_A_SENT_COMMAND):
        await asyncio.sleep(0)
    try:
        await _start_own_workflow(state, start)
    except (StartUnknown, asyncio.CancelledError):
        raise
    except BaseException:
        await asyncio.wait({storing})
        # The record and the entry among the open responses would stay for as long as a response is stored.
        with contextlib.suppress(*RedisDown):
            await state.store.retract(start.response_id, Record.of(start, (), None).written)
        raise
    finally:
        await asyncio.wait({storing})


async def _stored(state: AppState, start: StartResponse, ancestors: tuple[str, ...]) -> bool:
    """Store the request. False where its id has one already."""
    try:
        return await state.store.begin(start, ancestors)
    except RedisDown as error:
        log.warning("started_without_redis", response_id=start.response_id, reason=str(error))
        return True


async def _start_own_workflow(state: AppState, start: StartResponse) -> None:
    if not await start_workflow(state, start) and start.nonce is not None:
        begun = await state.records.request(start.response_id)
        if begun is None or begun.nonce != start.nonce:
            raise AlreadyBegun
    response_started(start)


async def start_workflow(state: AppState, start: StartResponse) -> bool:
    """False when a workflow with this id is there already: our own, whose answer got lost, since ids are not used
    twice; or, with an `Idempotency-Key`, another's. Raises Unavailable when Temporal stays away, and StartUnknown where
    it may have begun all the same."""
    asked, deadline = start.request, time.monotonic() + state.settings.start_patience_seconds
    attributes = [
        SearchAttributePair(client.MODEL, asked.model),
        SearchAttributePair(client.PROVIDER, start.provider),
        SearchAttributePair(client.TENANT, start.tenant),
        SearchAttributePair(client.STATUS, "in_progress"),
    ]
    if asked.previous_response_id:
        attributes.append(SearchAttributePair(client.PREVIOUS, asked.previous_response_id))
    if await state.search_attributes.are_known():
        start = start.model_copy(update={"has_search_attributes": True})
        if asked.conversation_id:
            attributes.append(SearchAttributePair(client.CONVERSATION, asked.conversation_id))
    was_sent = False
    while True:
        left = timedelta(seconds=max(deadline - time.monotonic(), _PAUSE_SECONDS))
        try:
            await state.temporal.start_workflow(
                ResponseWorkflow.run,
                start,
                id=start.response_id,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                task_queue=TASK_QUEUE,
                search_attributes=TypedSearchAttributes(attributes),
                static_summary=f"{plain(asked.model)} · {plain(start.tenant)}",
                task_timeout=client.WORKFLOW_TASK_TIMEOUT,
                priority=priority_of(state.settings.config, start),
                # Without a worker in this process, the SDK starts it as any other.
                request_eager_start=True,
                rpc_timeout=min(left, client.LONGEST_CALL),
            )
        except client.WorkflowAlreadyStartedError:
            return False
        except TemporalDown as error:
            was_sent = was_sent or not isinstance(error, TemporalAway) or error.was_sent
            if time.monotonic() + _PAUSE_SECONDS >= deadline:
                raise (_not_known(start) if was_sent else not_started()) from error
            await asyncio.sleep(_PAUSE_SECONDS)
        else:
            return True


def _not_known(start: StartResponse) -> StartUnknown:
    if start.nonce is not None:
        what = "Send your request again with the same Idempotency-Key: you get this response, and no second one starts."
    else:
        what = "If you send your request again, it may start a second one. With an Idempotency-Key it would not."
    return StartUnknown(
        f"Temporal cannot be reached, and it is not known whether the response was started. {what}",
        retry_after=AGAIN_SECONDS,
    )
