"""A response's state, as its workflow has it: the `progress` query.

Temporal holds a query back until a worker has carried out the run's first task. So a poll of a response that waits in
a queue, or that ended there, would stand for as long as its limit, for an answer with nothing in it. Such a run is not
asked.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.large_payloads import ERASED
from open_responses.loop.payloads import Progress

# Before the first task is carried out: the start, the task's scheduling, and its beginning. The run's end comes on top.
_EVENTS_BEFORE_FIRST_TASK = 3


async def progress_of(temporal: Client, response_id: str, *, within: timedelta) -> Progress:
    """Raises RPCError: no worker answered in time, or the run has nothing to answer with."""
    handle = temporal.get_workflow_handle(response_id)
    if _has_nothing(await handle.describe()):
        raise _unanswerable("no task of the run has been carried out")
    try:
        progress: Progress = await handle.query("progress", result_type=Progress, rpc_timeout=within)
    except (WorkflowQueryFailedError, *ERASED) as error:
        # The run cannot be replayed with the code of today, or its payloads cannot be read any more.
        raise _unanswerable(f"{type(error).__name__}: {error}") from error
    return progress


def _has_nothing(described: WorkflowExecutionDescription) -> bool:
    """Whether no worker has carried out a task of the run, and no earlier run has handed it anything."""
    is_open = described.status == WorkflowExecutionStatus.RUNNING
    is_first = described.raw_description.workflow_execution_info.first_run_id == described.run_id
    return is_first and described.history_length <= _EVENTS_BEFORE_FIRST_TASK + (not is_open)


def _unanswerable(reason: str) -> RPCError:
    return RPCError(reason, RPCStatusCode.FAILED_PRECONDITION, b"")
