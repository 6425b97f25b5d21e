"""The `progress` query: the state of a response in its workflow.

Temporal delays a query until a worker has completed the run's first task. A query of a response that waits in a queue,
or that ended there, would last until its time limit, and its result would be empty. Such a run is not queried.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.large_payloads import ERASED
from open_responses.loop.payloads.finish import Progress

# The events before the first task is complete: the start, the task's scheduling, and its beginning. An end adds one.
_EVENTS_BEFORE_FIRST_TASK = 3


async def progress_of(temporal: Client, response_id: str, *, within: timedelta) -> Progress:
    """The state of the response.

    Raises:
        RPCError: Temporal cannot be reached, no worker answered within the time, or the run has no state to return.
    """
    handle = temporal.get_workflow_handle(response_id)
    if has_nothing(await handle.describe()):
        raise _unanswerable("no task of the run has been carried out")
    try:
        progress: Progress = await handle.query("progress", result_type=Progress, rpc_timeout=within)
    except (WorkflowQueryFailedError, *ERASED) as error:
        # The run cannot be replayed with the current code, or its payloads cannot be read any more.
        raise _unanswerable(f"{type(error).__name__}: {error}") from error
    return progress


def has_nothing(described: WorkflowExecutionDescription) -> bool:
    """Whether no worker has completed a task of the run, and no earlier run has passed its state to this one."""
    is_open = described.status == WorkflowExecutionStatus.RUNNING
    is_first = described.raw_description.workflow_execution_info.first_run_id == described.run_id
    return is_first and described.history_length <= _EVENTS_BEFORE_FIRST_TASK + (not is_open)


def _unanswerable(reason: str) -> RPCError:
    return RPCError(reason, RPCStatusCode.FAILED_PRECONDITION, b"")
