"""From a request to a running response: validate, refuse what can be refused, start the workflow, follow its events.

Whatever brings the request (HTTP, a WebSocket's turn), it becomes a response here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import structlog
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from api.admission.estimates import Continues
from api.admission.limits import check_scopes, priority_of
from api.app_state import AppState
from api.auth import Caller
from api.conversations.turns import ReadConversation, conversation_for_turn, give_back_turn
from api.idempotency import AlreadyBegun, IdempotencyKey
from api.lookup import OwnedRecords
from api.references import References
from api.responses.context import check_context, earlier_of
from api.responses.decisions import hold, let_go
from api.responses.held import HeldResponse
from api.responses.plan import plan
from api.streaming.follower import Follower
from open_responses.errors import Unavailable
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.redis_store import Record
from open_responses.io.temporal import client
from open_responses.io.temporal.client import TemporalAway, TemporalDown
from open_responses.loop.markdown import plain
from open_responses.loop.payloads import TASK_QUEUE, Remembered, StartResponse
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import CreateResponse
from workflows.response import ResponseWorkflow

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 5.0


class StartUnknown(Unavailable):
    """Temporal did not say whether the response has begun."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A response that may begin: its start, the ids of the responses that it continues, oldest first, and the
    conversation that it answers, if it names one."""

    start: StartResponse
    ancestors: tuple[str, ...]
    conversation: ReadConversation | None = None


async def prepare(
    state: AppState,
    caller: Caller,
    asked: CreateResponse,
    provider_key: str | None = None,
    key: IdempotencyKey | None = None,
    held: HeldResponse | None = None,
    *,
    size: int,
    is_compaction: bool = False,
) -> Prepared:
    """Raises what the request is to be refused with. After it, `begin` or `follow` has to come at once.

    `held` is the response that it continues, where a connection's memory alone has it. `size` is that of the request,
    in bytes as it came.
    """
    check_scopes(state.settings.config, caller.key, asked)
    overload = await state.backlog.overload()
    if overload is not None and (caller.key is None or not overload.moves):
        raise overload.error
    conversation = await conversation_for_turn(state, caller.tenant, asked, key)
    shown = conversation.items if conversation is not None else ()
    records = OwnedRecords(state, caller.tenant)
    references = References(records, size=size, limit=state.settings.max_body_bytes, conversation=shown)
    asked = await references.resolved(asked)
    earlier = await earlier_of(state, records, asked, conversation, held)
    check_context(state, earlier, references.size, asked)
    start = await plan(state, caller.tenant, asked, records, provider_key, key, shown, is_compaction=is_compaction)
    by_reference = earlier.remembered_bytes if conversation is not None else 0
    start = start.model_copy(update={"earlier_bytes": earlier.stored_bytes + by_reference})
    if earlier.remembered is not None:
        start = start.model_copy(update={"remembered": await _by_reference(state, earlier.remembered, conversation)})
    continues = Continues(earlier.previous, shown, held)
    start = await state.admission.admit(caller.key, caller.headers, start, overload, continues)
    try:
        # From here on it is written: to the store, to Temporal, and again where that is away.
        start = await off_loop(size, start.with_accepted_input)
        await hold(state, start.response_id, start.decisions)
    except BaseException:
        await state.admission.withdraw(start)
        raise
    return Prepared(start, earlier.ancestors, conversation)


async def _by_reference(state: AppState, remembered: Remembered, conversation: ReadConversation | None) -> Remembered:
    """What a response reads of its conversation is in files that all of the conversation's responses share."""
    if conversation is None:
        return remembered
    return await state.records.pieces.referenced(conversation.owned.id, remembered)


async def follow(state: AppState, prepared: Prepared, *, only_end: bool = False) -> AsyncGenerator[bytes | None, None]:
    """The response's events, from its beginning on: the first step starts it and yields None.

    Listens first, then starts: no event falls in between.
    """
    follower = Follower(state, prepared.start, only_end=only_end)
    async with state.hub.listen(prepared.start.response_id) as queue:
        await begin(state, prepared)
        yield None
        async for event in follower.events(queue):
            yield event


async def begin(state: AppState, prepared: Prepared) -> None:
    """Start the workflow. Raises Unavailable when Temporal stays away; then nothing has begun, unless it is a
    StartUnknown. Raises AlreadyBegun for an `Idempotency-Key` that another request has used meanwhile, and Conflict
    when the conversation is not any more what was read."""
    start = prepared.start
    try:
        await _take_turn_and_begin(state, prepared)
    except AlreadyBegun:
        # The response that has begun has the same id: it holds the approvals, and gives the place back at its end.
        raise
    except (StartUnknown, asyncio.CancelledError):
        # It may have begun, and act on its approvals; if not, their holds expire.
        await state.admission.doubt(start)
        raise
    except BaseException:
        await let_go(state, start.response_id, start.decisions)
        await state.admission.withdraw(start)
        raise


async def _take_turn_and_begin(state: AppState, prepared: Prepared) -> None:
    """Last of all that may be refused, so that a conversation waits for nothing but a response."""
    start, conversation = prepared.start, prepared.conversation
    if conversation is None:
        await _begin(state, start, prepared.ancestors)
        return
    await conversation.take_turn(start.response_id)
    try:
        await _begin(state, start, prepared.ancestors)
    except AlreadyBegun:
        raise
    except BaseException:
        await give_back_turn(state, conversation.owned, start.response_id)
        raise


async def _begin(state: AppState, start: StartResponse, ancestors: tuple[str, ...]) -> None:
    if start.nonce is not None and state.eraser.marks.is_hidden(start.response_id):
        # Deleted, also where Redis has lost the tombstone since: the store refuses it otherwise.
        raise AlreadyBegun
    await state.eraser.prepare(start)
    try:
        if not await state.store.begin(start, ancestors):
            raise AlreadyBegun
    except RedisDown as error:
        log.warning("started_without_redis", response_id=start.response_id, reason=str(error))
    try:
        await _start_own_workflow(state, start)
    except (StartUnknown, asyncio.CancelledError):
        raise
    except BaseException:
        # The record and the entry among the open responses would stay for as long as a response is stored.
        with contextlib.suppress(*RedisDown):
            await state.store.retract(start.response_id, Record.of(start, (), None).written)
        raise


async def _start_own_workflow(state: AppState, start: StartResponse) -> None:
    if not await start_workflow(state, start) and start.nonce is not None:
        begun = await state.records.request(start.response_id)
        if begun is None or begun.nonce != start.nonce:
            raise AlreadyBegun


async def start_workflow(state: AppState, start: StartResponse) -> bool:
    """False when a workflow with this id is there already: our own, whose answer got lost, since ids are not used
    twice; or, with an `Idempotency-Key`, another's. Raises Unavailable when Temporal stays away, and StartUnknown where
    it may have begun all the same."""
    asked = start.request
    attributes = [
        SearchAttributePair(client.MODEL, asked.model),
        SearchAttributePair(client.PROVIDER, start.provider),
        SearchAttributePair(client.TENANT, start.tenant),
        SearchAttributePair(client.STATUS, "in_progress"),
    ]
    if asked.previous_response_id:
        attributes.append(SearchAttributePair(client.PREVIOUS, asked.previous_response_id))
    deadline, was_sent = time.monotonic() + state.settings.start_patience_seconds, False
    while True:
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
            )
        except client.WorkflowAlreadyStartedError:
            return False
        except TemporalDown as error:
            was_sent = was_sent or not isinstance(error, TemporalAway) or error.was_sent
            if time.monotonic() > deadline:
                raise (_not_known(start) if was_sent else _not_started()) from error
            await asyncio.sleep(0.25)
        else:
            return True


def _not_started() -> Unavailable:
    return Unavailable("Temporal cannot be reached. Nothing was started.", retry_after=_AGAIN_SECONDS)


def _not_known(start: StartResponse) -> StartUnknown:
    if start.nonce is not None:
        what = "Send it again with the same Idempotency-Key: it gets this response, and begins no second one."
    else:
        what = "Sent again, it may begin a second one; with an Idempotency-Key it would not."
    return StartUnknown(
        f"Temporal cannot be reached, and it is not known whether the response was started. {what}",
        retry_after=_AGAIN_SECONDS,
    )


async def cancelling(
    state: AppState, start: StartResponse, events: AsyncGenerator[bytes | None, None]
) -> AsyncGenerator[bytes | None, None]:
    """A client that leaves ends only its reader; but nobody can ever fetch a response that is not stored."""
    ended = False
    try:
        async for event in events:
            yield event
        ended = True
    finally:
        if not ended and not start.request.is_stored:
            with contextlib.suppress(*TemporalDown):
                await cancel(state, start.response_id)
        await events.aclose()
        state.eraser.erase_soon(start)


async def cancel(state: AppState, response_id: str) -> None:
    """Durably by signal, and at once by a word to the worker. Raises TemporalDown: then it is not durable.

    One that has ended meanwhile stays as it is.
    """
    with contextlib.suppress(*RedisDown):
        await state.store.request_cancel(response_id)
    try:
        await state.temporal.get_workflow_handle(response_id).signal("cancel")
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
