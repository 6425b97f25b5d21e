"""The description of a workflow, or None where Temporal has none."""

from __future__ import annotations

from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode


async def describe(client: Client, workflow_id: str) -> WorkflowExecutionDescription | None:
    """The newest run of this id; None if Temporal has no run, or has deleted it. Raises RPCError."""
    try:
        return await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
