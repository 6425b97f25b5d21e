"""Local activities for the end of a run in Temporal: one keeps the result, one requests the run's cancellation."""

from __future__ import annotations

from temporalio import activity
from temporalio.service import RPCError, RPCStatusCode

from open_responses.loop.payloads.finish import FinishedResponse
from open_responses.loop.payloads.names import KEEP_END, REQUEST_CANCELLATION


@activity.defn(name=KEEP_END)
async def keep_end(finished: FinishedResponse) -> FinishedResponse:
    """Return the argument: Temporal stores the results of local activities, and none of a run that fails."""
    return finished


@activity.defn(name=REQUEST_CANCELLATION)
async def request_cancellation() -> None:
    """Request the cancellation of the workflow that called this. Safe to run twice."""
    info = activity.info()
    assert info.workflow_id is not None
    handle = activity.client().get_workflow_handle(info.workflow_id, run_id=info.workflow_run_id)
    try:
        await handle.cancel()
    except RPCError as error:
        # Requested already, or an operator has ended the run meanwhile.
        if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.ALREADY_EXISTS):
            raise
