"""`POST /v1/responses`: validate, refuse what can be refused, start the workflow, follow it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import orjson
import structlog
from fastapi import APIRouter, Request
from starlette.responses import Response
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

from api.app_state import AppState, state_of
from api.auth import tenant_of
from api.body import read_body
from api.decisions import claim
from api.lookup import owned_record
from api.plan import plan
from api.routing import take_provider_key
from api.stream import EventStream, Follower, response_in
from open_responses.conversation import check_calls_are_answered
from open_responses.errors import InvalidRequest, NotFound, PreviousResponseNotFound, Unavailable
from open_responses.io import temporal
from open_responses.io.redis import RedisDown
from open_responses.payloads import TASK_QUEUE, StartResponse
from open_responses.requests import CreateResponse, validate_create_response
from open_responses.validation import read_json_object
from workflows.response import ResponseWorkflow

log = structlog.get_logger(__name__)
router = APIRouter()

_START_PATIENCE_SECONDS = 20.0


@router.post("/v1/responses")
async def create_response(request: Request) -> Response:
    """Create a response: JSON, or a stream of events when `stream` is true."""
    state, tenant = state_of(request), tenant_of(request)
    body = read_json_object(await read_body(request, state.settings.max_body_bytes))
    provider_key = take_provider_key(body, request.headers)
    asked = validate_create_response(body)
    ancestors = await _ancestors(state, tenant, asked)
    start = await plan(state, tenant, asked, provider_key)
    await claim(state, start.response_id, start.decisions)
    follower = Follower(state, start)
    if asked.is_background and not asked.stream:
        await _start(state, start, ancestors)
        return _json(start.initial())
    events = _started(state, start, ancestors, follower)
    # The first step starts the workflow: what fails there is still a plain error answer.
    await anext(events)
    if asked.stream:
        return EventStream(_cancelling(state, start, events), keepalive_seconds=state.settings.keepalive_seconds)
    return await _folded(request, state, start, events)


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
    check_calls_are_answered(asked.input_items(), record.output)
    return (*record.ancestors, previous)


async def _started(
    state: AppState, start: StartResponse, ancestors: tuple[str, ...], follower: Follower
) -> AsyncGenerator[bytes | None, None]:
    """Listen first, then start: no event falls in between. Yields None once the workflow runs."""
    async with state.hub.listen(start.response_id) as queue:
        await _start(state, start, ancestors)
        yield None
        async for event in follower.events(queue):
            yield event


async def _start(state: AppState, start: StartResponse, ancestors: tuple[str, ...]) -> None:
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


async def _cancelling(
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


async def _folded(
    request: Request, state: AppState, start: StartResponse, events: AsyncGenerator[bytes | None, None]
) -> Response:
    """Plain JSON is the stream's fold, and its last event holds it."""
    stream = _cancelling(state, start, events)
    async with contextlib.aclosing(stream) as following:
        last = None
        async for event in following:
            if event is not None:
                last = event
            elif await request.is_disconnected():
                return Response(status_code=499)
    assert last is not None, "a followed stream ends with a terminal event"
    return Response(response_in(last), media_type="application/json")


def _json(resource: dict[str, object]) -> Response:

    return Response(orjson.dumps(resource), media_type="application/json")
