"""Finds the runs of a workflow before an operator's reset, or before an operator started it again under its id.

The newest run has no reference to them; only Temporal's list of workflows has them. Without them, a deletion would
leave a history behind, and a response that had ended would be sampled again if Redis lost its end.
"""

from __future__ import annotations

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription

from open_responses.io.temporal.client import TENANT

_ENDED = "ExecutionStatus IN ('Completed', 'Failed', 'Canceled')"


async def earlier_runs(
    temporal: Client, newest: WorkflowExecutionDescription, *, only_ended: bool = False
) -> list[WorkflowExecution]:
    """The runs, oldest first, without the newest. Calls Temporal only if there can be any. Raises RPCError.

    `only_ended`: those that may have an end of the response (`ends_of_runs.py`).
    """
    is_first = newest.raw_description.workflow_execution_info.first_run_id == newest.run_id
    if is_first and newest.typed_search_attributes.get(TENANT) is not None:
        # The API started the run, and it starts one run for each id.
        return []
    query = f"WorkflowId = '{newest.id}'" + (f" AND {_ENDED}" if only_ended else "")
    runs = [run async for run in temporal.list_workflows(query) if run.run_id != newest.run_id]
    return sorted(runs, key=lambda run: run.start_time)
