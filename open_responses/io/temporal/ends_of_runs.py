"""Reads the end of a response from a run that has closed.

A completed run has it as its result. Temporal keeps none of a failed or cancelled run. The workflow therefore keeps it
in history, as the result of its last local activity (`workflows/ends.py`), a few events before the run's end. Reading
it needs no worker.
"""

from __future__ import annotations

import orjson
from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

from open_responses.loop.payloads.finish import FinishedResponse
from open_responses.loop.payloads.names import KEEP_END

# The run's end, the search attributes and the details come behind it.
_NEWEST_EVENTS = 10
_LOCAL_ACTIVITY = "core_local_activity"


async def end_of_run(temporal: Client, run: WorkflowExecution) -> FinishedResponse | None:
    """The end that this run gave its response; None for a run that is open, or that ended otherwise. Raises RPCError.

    Others are terminated, timed out, or failed by themselves: their responses are ended from outside.
    """
    if run.status == WorkflowExecutionStatus.COMPLETED:
        handle = temporal.get_workflow_handle(run.id, run_id=run.run_id, result_type=FinishedResponse)
        result: FinishedResponse = await handle.result(follow_runs=False)
        return result
    if run.status in (WorkflowExecutionStatus.FAILED, WorkflowExecutionStatus.CANCELED):
        return await _kept_end(temporal, run)
    return None


async def _kept_end(temporal: Client, run: WorkflowExecution) -> FinishedResponse | None:
    answer = await temporal.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=temporal.namespace,
            execution=Execution(workflow_id=run.id, run_id=run.run_id),
            maximum_page_size=_NEWEST_EVENTS,
        )
    )
    for event in answer.history.events:
        if _keeps_end(event):
            result = event.marker_recorded_event_attributes.details["result"].payloads
            (finished,) = await temporal.data_converter.decode(result, [FinishedResponse])
            assert isinstance(finished, FinishedResponse)
            return finished
    return None


def _keeps_end(event: HistoryEvent) -> bool:
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != _LOCAL_ACTIVITY or "result" not in marker.details:
        return False
    described = marker.details["data"].payloads[0].data
    return bool(orjson.loads(described)["activity_type"] == KEEP_END)
