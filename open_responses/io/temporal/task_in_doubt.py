"""Detects a workflow task that a worker has begun and Temporal has not recorded.

The run may have had effects that its history does not show.

A response's end is announced within such a task, by a local activity. Until the task is recorded, Temporal describes
the run as one that goes on. If Redis loses the stored end in the meantime, nothing else shows that there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType, PendingActivityState, PendingWorkflowTaskState, TimeoutType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecutionDescription

from open_responses.io.temporal.run_progress import has_nothing

# The events behind the last task of a worker: a signal or two, a result, the scheduling of the next task.
_PAGE = 20
_STOPPING = PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
# The timer behind which a workflow takes its next step (`workflows/tasks.py`).
_STEP = timedelta(milliseconds=1)


async def has_task_in_doubt(temporal: Client, described: WorkflowExecutionDescription) -> bool:
    """Whether a worker has begun a workflow task of this open run that is not recorded. Raises RPCError.

    While an activity runs or a worker carries out a task, the description shows it without a further call. Otherwise
    the newest events of the history are read: a task that waits for a worker may be the repetition of one that was
    begun, and such a repetition may have reached only its next step, after a timer (`workflows/tasks.py`).
    """
    raw = described.raw_description
    # The first task cannot announce an end: an end follows a sample's result, or is decided in a task before.
    if has_nothing(described):
        return False
    if raw.HasField("pending_workflow_task"):
        task = raw.pending_workflow_task
        if task.attempt > 1 or task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED:
            return True
    elif any(one.state != _STOPPING for one in raw.pending_activities):
        return False
    return await _is_in_doubt_by_history(temporal, described)


async def _is_in_doubt_by_history(temporal: Client, described: WorkflowExecutionDescription) -> bool:
    page, newest_first = b"", list[HistoryEvent]()
    while True:
        answer = await temporal.workflow_service.get_workflow_execution_history_reverse(
            GetWorkflowExecutionHistoryReverseRequest(
                namespace=temporal.namespace,
                execution=WorkflowExecution(workflow_id=described.id, run_id=described.run_id),
                maximum_page_size=_PAGE,
                next_page_token=page,
            )
        )
        newest_first += answer.history.events
        in_doubt = is_in_doubt(newest_first)
        page = answer.next_page_token
        if in_doubt is not None or not page:
            return bool(in_doubt)


def is_in_doubt(newest_first: Iterable[HistoryEvent]) -> bool | None:
    """Whether the last task that a worker has begun broke off, or goes on behind a timer of a millisecond.

    None: these events do not show it.
    """
    for event in newest_first:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            return False
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            return True
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            # The task was assigned to a worker that is gone and never began it. Another worker gets it.
            timeout = event.workflow_task_timed_out_event_attributes.timeout_type
            if timeout != TimeoutType.TIMEOUT_TYPE_SCHEDULE_TO_START:
                return True
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            timer = event.timer_started_event_attributes
            if timer.start_to_fire_timeout.ToTimedelta() <= _STEP:
                return True
    return None
