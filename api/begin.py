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
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

from api.app_state import AppState
from api.auth import Caller
from api.decisions import hold, let_go
from api.lookup import owned_record
from api.plan import plan
from api.stream import Follower
from open_responses.conversation import check_calls_are_answered
from open_responses.errors import InvalidRequest, NotFound, PreviousResponseNotFound, Unavailable
from open_responses.io import temporal
from open_responses.io.redis import RedisDown
from open_responses.payloads import TASK_QUEUE, StartResponse
from open_responses.requests import CreateResponse
from workflows.response import ResponseWorkflow

log = structlog.get_logger(__name__)

_START_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """A response that may begin: its start, and the ids of the responses that it continues, oldest first."""

    start: StartResponse
    ancestors: tuple[str, ...]


async def prepare(state: AppState, caller: Caller, asked: CreateResponse, provider_key: str | None = None) -> Prepared:
    """Raises what the request is to be refused with. After it, `begin` or `follow` has to come at once."""
    ancestors = await _ancestors(state, caller.tenant, asked)
    start = await plan(state, caller.tenant, asked, provider_key)
    await hold(state, start.response_id, start.decisions)
    return Prepared(start, ancestors)


async def follow(state: AppState, prepared: Prepared) -> AsyncGenerator[bytes | None, None]:
    """The response's events, from its beginning on: the first step starts it and yields None.

    Listens first, then starts: no event falls in between.
    """
    follower = Follower(state, prepared.start)
    async with state.hub.listen(prepared.start.response_id) as queue:
        await begin(state, prepared)
        yield None
        async for event in follower.events(queue):
            yield event


async def begin(state: AppState, prepared: Prepared) -> None:
    """Start the workflow. Raises Unavailable when Temporal stays away; then nothing has begun."""
    try:
        await _begin(state, prepared.start, prepared.ancestors)
    except BaseException:
        await let_go(state, prepared.start.response_id, prepared.start.decisions)
        raise


async def _begin(state: AppState, start: StartResponse, ancestors: tuple[str, ...]) -> None:
    try:
        await state.store.begin(start, ancestors)
    except RedisDown as error:
        log.warning("started_without_redis", response_id=start.response_id, reason=str(error))
    asked = start.request
    attributes = [
        SearchAttributePair(temporal.MODEL, asked.model),
        SearchAttributePair(temporal.PROVIDER, start.provider),
        SearchAttributePair(temporal.TENANT, start.tenant),
        SearchAttributePair(temporal.STATUS, "in_progress"),
    ]
    if asked.previous_response_id:
        attributes.append(SearchAttributePair(temporal.PREVIOUS, asked.previous_response_id))
    deadline = time.monotonic() + _START_PATIENCE_SECONDS
    while True:
        try:
            await state.temporal.start_workflow(
                ResponseWorkflow.run,
                start,
                id=start.response_id,
                task_queue=TASK_QUEUE,
                search_attributes=TypedSearchAttributes(attributes),
                static_summary=f"{asked.model} · {start.tenant}",
                task_timeout=temporal.WORKFLOW_TASK_TIMEOUT,
            )
        except temporal.WorkflowAlreadyStartedError:
            # Our own start, whose answer got lost: ids are never used twice.
            return
        except RPCError as error:
            if not temporal.is_away(error):
                raise
            if time.monotonic() > deadline:
                raise Unavailable("Temporal cannot be reached; nothing was started.", retry_after=5) from error
            await asyncio.sleep(0.25)
        else:
            return


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
            await cancel(state, start.response_id)
        await events.aclose()


async def cancel(state: AppState, response_id: str) -> None:
    """Durably by signal, and at once by a word to the worker."""
    with contextlib.suppress(*RedisDown):
        await state.store.request_cancel(response_id)
    with contextlib.suppress(RPCError):
        await state.temporal.get_workflow_handle(response_id).signal("cancel")


async def _ancestors(state: AppState, tenant: str, asked: CreateResponse) -> tuple[str, ...]:
    """The chain behind `previous_response_id`. An unknown id is an error, never ignored (REQ-1)."""
    previous = asked.previous_response_id
    if previous is None:
        check_calls_are_answered(asked.input_items(), ())
        return ()
    try:
        record = await owned_record(state, tenant, previous)
    except NotFound:
        raise PreviousResponseNotFound(
            f"Previous response with id {previous!r} not found.", param="previous_response_id"
        ) from None
    if record.response is None:
        raise InvalidRequest(
            f"Response {previous!r} is still in progress; wait for its end to continue it.",
            param="previous_response_id",
            code="previous_response_in_progress",
        )
    own = frozenset(tool.name for tool in record.start.hosted)
    check_calls_are_answered(asked.input_items(), record.output, own=own)
    return (*record.ancestors, previous)
