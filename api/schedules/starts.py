"""Starts the responses of schedules, in the API's process: each passes the same checks as a request of its owner.

These are activities of a task queue of their own. A run whose time comes while no API runs waits in that queue for the
next one (docs/decisions/0051).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import structlog
from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from api.app_state import AppState
from api.auth import OPEN_TENANT, Caller
from api.idempotency import AlreadyBegun, IdempotencyKey
from api.responses.prepare import prepare
from api.responses.start import start_response
from api.schedules.requests import authorized_request, request_of
from open_responses.errors import OpenResponsesError
from open_responses.io.sealing import SealBroken, configured_keys
from open_responses.io.settings import Settings
from open_responses.io.store.repository import NotInTemporal
from open_responses.io.temporal.client import connect
from open_responses.io.temporal.describe import describe
from open_responses.io.temporal.large_payloads import ERASED
from open_responses.schedules.payloads import (
    API_TASK_QUEUE,
    HAS_ENDED,
    RUN_MEMO,
    START_SCHEDULED,
    ScheduledRun,
    ScheduleState,
    StartedScheduled,
    StartScheduled,
)

log = structlog.get_logger(__name__)

_CONNECT_SECONDS = 2.0
_AT_ONCE = 50
_LONGEST_WAIT = 300.0
# Another process may have read the configuration file, or the keys, before this one.
_LOOKS_FOR_A_KEY = 10
_NEXT_LOOK = timedelta(seconds=1)
_LOOKS_AT_A_RUN = 20
_NEXT_LOOK_AT_A_RUN = 0.5


class KeyEnded(Exception):
    """The schedule's key is not in force any more."""


class ScheduledStarts:
    """The activities. `latest` returns the state that is in force."""

    def __init__(self, latest: Callable[[], AppState]) -> None:
        self._latest = latest

    @activity.defn(name=START_SCHEDULED)
    async def start(self, call: StartScheduled) -> StartedScheduled:
        """Start the response of a run, once however often this is repeated.

        Raises ApplicationError where another attempt may succeed: a limit of the key is reached, or a dependency is
        away.
        """
        state, schedule = self._latest(), call.schedule
        try:
            await self._start(state, call)
        except AlreadyBegun:
            pass
        except KeyEnded:
            await _pause(state.temporal, schedule, "Its API key was revoked, has expired or is gone.")
            return StartedScheduled(
                error_code="invalid_api_key",
                error_message="The API key of the schedule is not valid any more. The schedule is paused.",
            )
        except SealBroken:
            return StartedScheduled(error_code="server_error", error_message="The request cannot be opened.")
        except OpenResponsesError as error:
            # A 429 without a time does not pass: the budget is used up, or the input is above the limit of a minute.
            is_limit = error.status == 429 and error.retry_after is not None
            may_pass = is_limit or error.status >= 500 or error.error_code == "conversation_busy"
            if may_pass and (error.retry_after or 0.0) < _seconds_left():
                wait = None if error.retry_after is None else timedelta(seconds=min(error.retry_after, _LONGEST_WAIT))
                raise ApplicationError(error.message, type=error.error_code, next_retry_delay=wait) from None
            return StartedScheduled(error_code=error.error_code, error_message=error.message)
        log.info("scheduled_response_started", schedule=schedule.id, response_id=call.response_id)
        return StartedScheduled()

    async def _start(self, state: AppState, call: StartScheduled) -> None:
        caller, body = _caller(state, call.schedule, activity.info().attempt), request_of(state, call.schedule)
        key = IdempotencyKey(call.response_id, call.schedule.id)
        record = await _begun(state, call.response_id)
        if record:
            return
        prepared = await prepare(state, authorized_request(state, caller, body, key))
        start = prepared.start.model_copy(update={"scheduled_run": call.run_id})
        await start_response(state, replace(prepared, start=start))
        if not await _is_wanted(state.temporal, call):
            log.info("scheduled_response_not_wanted", schedule=call.schedule.id, response_id=call.response_id)
            await state.temporal.get_workflow_handle(call.response_id).signal("cancel")

    @activity.defn(name=HAS_ENDED)
    async def has_ended(self, response_id: str) -> str | None:
        """The status of a response that has ended; None while it runs. Raises RPCError and RedisError."""
        state = self._latest()
        run = await describe(state.temporal, response_id)
        if run is not None and run.status == WorkflowExecutionStatus.RUNNING:
            return None
        try:
            record = await state.records.load(response_id)
        except NotInTemporal:
            record = None
        if record is None:
            return "deleted"
        return None if record.response is None else str(orjson.loads(record.response)["status"])


async def serve_starts(settings: Settings, latest: Callable[[], AppState]) -> None:
    """Take the starts of schedules, until cancelled."""
    from temporalio.worker import Worker

    keys = configured_keys(settings.encryption_keys)
    while True:
        try:
            temporal = await connect(settings.blobs, encryption_keys=keys, for_worker=True)
            break
        except RPCError:
            await asyncio.sleep(_CONNECT_SECONDS)
    starts = ScheduledStarts(latest)
    worker = Worker(
        temporal,
        task_queue=API_TASK_QUEUE,
        activities=[starts.start, starts.has_ended],
        max_concurrent_activities=_AT_ONCE,
    )
    await worker.run()


def _caller(state: AppState, schedule: ScheduleState, attempt: int) -> Caller:
    """The schedule's owner, with its key as it is now.

    Raises KeyEnded, and ApplicationError for a key that this process may not have read yet: another one may have it, or
    this one a moment later.
    """
    has_keys = bool(state.settings.config.api_keys)
    if not schedule.key_id and not has_keys:
        return Caller(OPEN_TENANT)
    found = next((one for one in state.keys.by_hash.values() if one.config.id == schedule.key_id), None)
    if found is not None and found.end is None and found.config.tenant == schedule.tenant:
        return Caller(schedule.tenant, found.config)
    if found is not None or (has_keys and schedule.key_id and state.keys.is_complete and attempt >= _LOOKS_FOR_A_KEY):
        raise KeyEnded
    raise ApplicationError("this process does not know the key", type="unavailable", next_retry_delay=_NEXT_LOOK)


async def _begun(state: AppState, response_id: str) -> bool:
    """Whether an earlier attempt has started the response."""
    return await describe(state.temporal, response_id) is not None


async def _is_wanted(temporal: Client, call: StartScheduled) -> bool:
    """Whether the run still waits for the response that was begun now. It may have been cancelled, or deleted with its
    schedule, or have given up, after this attempt had begun. Raises RPCError.
    """
    info = activity.info()
    for _ in range(_LOOKS_AT_A_RUN):
        run = await describe(temporal, call.run_id)
        if run is None:
            return False
        with contextlib.suppress(*ERASED):
            kept = await run.memo_value(RUN_MEMO, default=None, type_hint=ScheduledRun)
            if kept is not None and kept.response_id == call.response_id:
                # A later attempt has found it.
                return True
        mine = [one for one in run.raw_description.pending_activities if one.activity_id == info.activity_id]
        if mine:
            return mine[0].state != PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
        if run.status != WorkflowExecutionStatus.RUNNING:
            return False
        # The run has a result of another attempt, and is about to say what becomes of it.
        await asyncio.sleep(_NEXT_LOOK_AT_A_RUN)
    return True


def _seconds_left() -> float:
    """The seconds for which Temporal makes further attempts at this start."""
    info = activity.info()
    if info.schedule_to_close_timeout is None:
        return 0.0
    ends_at = info.scheduled_time + info.schedule_to_close_timeout
    return (ends_at - datetime.now(UTC)).total_seconds()


async def _pause(temporal: Client, schedule: ScheduleState, note: str) -> None:
    try:
        await temporal.get_schedule_handle(schedule.id).pause(note=note)
    except RPCError:
        log.warning("schedule_not_paused", schedule=schedule.id)
