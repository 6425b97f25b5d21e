"""The workflow of one run of a schedule: it starts a response through the API's checks, and stays open until the
response ends.

It stays open for the schedule's overlap policy: Temporal skips, queues or cancels runs by whether this workflow runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from open_responses.schedules.payloads import (
        API_TASK_QUEUE,
        HAS_ENDED,
        RUN_MEMO,
        SCHEDULED_RESPONSE_WORKFLOW,
        START_SCHEDULED,
        RunStatus,
        ScheduledRun,
        ScheduleState,
        StartedScheduled,
        StartScheduled,
        response_id_of,
    )
    from workflows.patches import patched

_LONGEST_START = timedelta(seconds=60)
# A response signals its end. This finds one that was deleted, or whose signal was lost.
_LOOK_EVERY = timedelta(minutes=30)
_LOOK_PATIENCE = timedelta(minutes=10)


@workflow.defn(name=SCHEDULED_RESPONSE_WORKFLOW)
class ScheduledResponseWorkflow:
    """One run. Temporal makes its id of the schedule's id and the time."""

    @workflow.init
    def __init__(self, schedule: ScheduleState) -> None:
        info = workflow.info()
        self._run = ScheduledRun(id=info.workflow_id, schedule_id=schedule.id, started_at=workflow.now().timestamp())
        self._response_id = response_id_of(info.workflow_id, info.run_id)
        self._ended_as: str | None = None
        self._is_cancelled = False

    @workflow.run
    async def run(self, schedule: ScheduleState) -> ScheduledRun:
        """Start the response and wait for its end. A cancellation cancels the response.

        A start that is under way is waited for: it may already have begun the response, which no signal reaches before.
        """
        self._show("starting")
        running = asyncio.create_task(self._respond(schedule))
        while not running.done():
            try:
                await workflow.wait([running])
            except asyncio.CancelledError:
                self._is_cancelled = True
                if patched("a-start-ends-before-its-cancellation"):
                    running.cancel()
                    await workflow.wait([running])
                    await self._cancel_response()
                else:
                    await self._cancel_response()
                    running.cancel()
                self._show("cancelled")
                return self._run
        running.result()
        return self._run

    @workflow.signal
    def response_ended(self, status: str) -> None:
        """The response has ended."""
        self._ended_as = status

    async def _respond(self, schedule: ScheduleState) -> None:
        if not await self._started(schedule):
            return
        self._run.response_id = self._response_id
        self._show("running")
        while self._ended_as is None:
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(
                    lambda: self._ended_as is not None, timeout=_LOOK_EVERY, timeout_summary="look at the response"
                )
            if self._ended_as is None:
                self._ended_as = await self._looked()
        self._run.response_status = self._ended_as
        self._show("ended")

    async def _started(self, schedule: ScheduleState) -> bool:
        """Whether the response has begun. Limits and outages are waited for; anything else refuses the run."""
        call = StartScheduled(schedule=schedule, run_id=self._run.id, response_id=self._response_id)
        try:
            started: StartedScheduled = await workflow.execute_activity(
                START_SCHEDULED,
                call,
                result_type=StartedScheduled,
                task_queue=API_TASK_QUEUE,
                start_to_close_timeout=_LONGEST_START,
                schedule_to_close_timeout=timedelta(seconds=schedule.patience_seconds),
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(seconds=60)),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        except ActivityError as error:
            if not self._is_cancelled and patched("a-late-start-is-cancelled"):
                # The time may have run out in the middle of an attempt, which then began the response.
                await self._cancel_response()
            started = _given_up(error)
        if self._is_cancelled:
            return False
        if started.error_code is None:
            return True
        self._run.error_code, self._run.error_message = started.error_code, started.error_message
        self._show("refused")
        return False

    async def _looked(self) -> str | None:
        try:
            found: str | None = await workflow.execute_activity(
                HAS_ENDED,
                self._response_id,
                result_type=str | None,  # type: ignore[arg-type]
                task_queue=API_TASK_QUEUE,
                start_to_close_timeout=_LONGEST_START,
                schedule_to_close_timeout=_LOOK_PATIENCE,
            )
        except ActivityError:
            # The run's cancellation ends a look that is under way, and reaches the code as this error alone.
            if self._is_cancelled and patched("a-look-ends-with-its-run"):
                raise asyncio.CancelledError from None
            return None
        return found

    async def _cancel_response(self) -> None:
        with contextlib.suppress(FailureError):
            await workflow.get_external_workflow_handle(self._response_id).signal("cancel")

    def _show(self, status: RunStatus) -> None:
        """Keep the run's state where lists find it without a worker."""
        self._run.status = status
        if status in ("ended", "refused", "cancelled"):
            self._run.ended_at = workflow.now().timestamp()
        workflow.upsert_memo({RUN_MEMO: self._run})


def _given_up(error: ActivityError) -> StartedScheduled:
    """The refusal of a run whose start was tried for as long as it may be, with the reason of the last attempt."""
    cause: BaseException | None = error.cause
    while cause is not None and not isinstance(cause, ApplicationError):
        cause = cause.__cause__
    message = "The response could not be started in time. The next run is tried anew."
    if cause is None or not cause.type:
        return StartedScheduled(error_code="unavailable", error_message=message)
    return StartedScheduled(error_code=cause.type, error_message=f"{message} The last attempt: {cause.message}")
