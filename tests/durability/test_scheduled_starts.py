"""A run that is cancelled, deleted or given up while its response is started or looked at leaves none that runs on.

The real workflow of a run, on the stack's Temporal and a task queue of its own. Its activity begins a workflow that
takes the response's place, at the moment that a test chooses.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from api.schedules.starts import _is_wanted
from open_responses.ids import new_id
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.schedules.payloads import (
    HAS_ENDED,
    SCHEDULED_RESPONSE_WORKFLOW,
    START_SCHEDULED,
    ScheduledRun,
    ScheduleState,
    StartedScheduled,
    StartScheduled,
    response_id_of,
)
from tests.support.stack import Stack, until
from workflows import scheduled_response
from workflows.scheduled_response import ScheduledResponseWorkflow

pytestmark = pytest.mark.campaign


@workflow.defn(name="InPlaceOfAResponse")
class InPlaceOfAResponse:
    """Runs until it is cancelled as a response is."""

    def __init__(self) -> None:
        self._is_cancelled = False

    @workflow.signal
    def cancel(self) -> None:
        self._is_cancelled = True

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self._is_cancelled)
        return "cancelled"


@dataclass
class Starts:
    """The activities. A start says that an attempt has begun, waits, and begins the response. A look gets no answer.

    `checks`: behind the start, it cancels what nobody waits for, as the API's activity does.
    """

    temporal: Client
    queue: str
    checks: bool = True
    refusal: ApplicationError | None = None
    began: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    looks: asyncio.Event = field(default_factory=asyncio.Event)

    @activity.defn(name=START_SCHEDULED)
    async def start(self, call: StartScheduled) -> StartedScheduled:
        self.began.set()
        try:
            await self.released.wait()
            if self.refusal is not None:
                raise self.refusal
            await self.temporal.start_workflow(InPlaceOfAResponse.run, id=call.response_id, task_queue=self.queue)
            if self.checks and not await _is_wanted(self.temporal, call):
                await self.temporal.get_workflow_handle(call.response_id).signal("cancel")
            return StartedScheduled()
        finally:
            self.done.set()

    @activity.defn(name=HAS_ENDED)
    async def look(self, response_id: str) -> str | None:
        self.looks.set()
        await asyncio.Event().wait()
        return None


@pytest_asyncio.fixture
async def starts(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Starts]:
    temporal, queue = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER), new_id("queue_")
    monkeypatch.setattr(scheduled_response, "API_TASK_QUEUE", queue)
    this = Starts(temporal, queue)
    worker = Worker(
        temporal,
        task_queue=queue,
        workflows=[ScheduledResponseWorkflow, InPlaceOfAResponse],
        activities=[this.start, this.look],
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=timedelta(0),
    )
    async with worker:
        yield this


async def running(starts: Starts, patience: float = 3600) -> WorkflowHandle[Any, ScheduledRun]:
    schedule = ScheduleState(
        id=new_id("sched_"), tenant="t", sealed="", created_at=1, updated_at=1, patience_seconds=patience
    )
    handle: WorkflowHandle[Any, ScheduledRun] = await starts.temporal.start_workflow(
        SCHEDULED_RESPONSE_WORKFLOW, schedule, id=schedule.id, task_queue=starts.queue, result_type=ScheduledRun
    )
    await asyncio.wait_for(starts.began.wait(), 50)
    return handle


async def response_of(starts: Starts, handle: WorkflowHandle[Any, ScheduledRun]) -> WorkflowHandle[Any, Any]:
    response_id = response_id_of(handle.id, handle.first_execution_run_id or "")
    return starts.temporal.get_workflow_handle(response_id, result_type=str)


@pytest.mark.parametrize("checks", [True, False])
async def test_a_run_cancelled_while_its_response_is_started_cancels_that_response(
    starts: Starts, checks: bool
) -> None:
    """Without the check as well: the process that starts may die between the start and its check."""
    starts.checks = checks
    handle = await running(starts)
    await handle.cancel()

    async def is_asked_to_cancel() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return any(one.state == PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED for one in pending)

    await until(is_asked_to_cancel)
    starts.released.set()
    assert (await asyncio.wait_for(handle.result(), 50)).status == "cancelled"
    response = await response_of(starts, handle)
    assert await asyncio.wait_for(response.result(), 50) == "cancelled"


async def test_a_run_cancelled_while_its_start_is_put_off_ends_at_once(starts: Starts) -> None:
    starts.refusal = ApplicationError("slow down", type="rate_limited", next_retry_delay=timedelta(minutes=30))
    handle = await running(starts)
    starts.released.set()

    async def is_put_off() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return bool(pending) and pending[0].attempt == 2

    await until(is_put_off)
    await handle.cancel()
    assert (await asyncio.wait_for(handle.result(), 50)).status == "cancelled"


async def test_a_run_cancelled_while_nothing_answers_whether_its_response_has_ended_cancels_that_response(
    starts: Starts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduled_response, "_LOOK_EVERY", timedelta(milliseconds=1))
    starts.released.set()
    handle = await running(starts)
    await asyncio.wait_for(starts.looks.wait(), 50)
    await handle.cancel()
    ended = await asyncio.wait_for(handle.result(), 50)
    assert ended.status == "cancelled"
    response = await response_of(starts, handle)
    assert ended.response_id == response.id
    assert await asyncio.wait_for(response.result(), 50) == "cancelled"


async def test_a_run_deleted_while_its_response_is_started_cancels_that_response(starts: Starts) -> None:
    handle = await running(starts)
    await starts.temporal.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=starts.temporal.namespace,
            workflow_execution=Execution(workflow_id=handle.id, run_id=handle.first_execution_run_id or ""),
        )
    )

    async def is_gone() -> bool:
        found = [run async for run in starts.temporal.list_workflows(f"WorkflowId = '{handle.id}'")]
        return not found

    await until(is_gone)
    starts.released.set()
    response = await response_of(starts, handle)
    await asyncio.wait_for(starts.done.wait(), 50)
    assert await asyncio.wait_for(response.result(), 50) == "cancelled"


async def test_a_run_given_up_in_the_middle_of_a_start_cancels_the_response_that_this_begins(starts: Starts) -> None:
    handle = await running(starts, patience=1)
    ended = await asyncio.wait_for(handle.result(), 50)
    assert (ended.status, ended.response_id, ended.error_code) == ("refused", None, "unavailable")
    starts.released.set()
    await asyncio.wait_for(starts.done.wait(), 50)
    response = await response_of(starts, handle)
    assert await asyncio.wait_for(response.result(), 50) == "cancelled"


async def test_a_start_that_is_refused_for_too_long_says_why(starts: Starts) -> None:
    starts.refusal = ApplicationError("Slow down.", type="rate_limit_exceeded")
    starts.released.set()
    handle = await running(starts, patience=3)
    ended = await asyncio.wait_for(handle.result(), 50)
    assert (ended.status, ended.error_code) == ("refused", "rate_limit_exceeded")
    assert "Slow down." in (ended.error_message or "")
