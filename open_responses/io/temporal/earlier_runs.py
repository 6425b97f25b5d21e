"""Runs of a workflow that its newest one does not lead to: an operator reset it, or started it again under its id.

Without them, a deletion would leave a history behind, and a response that had ended would be sampled a second time
where Redis has lost its end. Temporal knows them by its list alone.
"""

from __future__ import annotations

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription

from open_responses.io.temporal.client import TENANT


async def earlier_runs(
    temporal: Client, newest: WorkflowExecutionDescription, *, only_completed: bool = False
) -> list[WorkflowExecution]:
    """Oldest first, without the newest. Asks Temporal only where there can be any. Raises RPCError."""
    is_first = newest.raw_description.workflow_execution_info.first_run_id == newest.run_id
    if is_first and newest.typed_search_attributes.get(TENANT) is not None:
        # Begun by the API, which uses no id twice.
        return []
    query = f"WorkflowId = '{newest.id}'" + (" AND ExecutionStatus = 'Completed'" if only_completed else "")
    runs = [run async for run in temporal.list_workflows(query) if run.run_id != newest.run_id]
    return sorted(runs, key=lambda run: run.start_time)
