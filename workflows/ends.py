"""Ends the run as its response ended: a failed response's run is Failed in Temporal, a cancelled one's is Canceled.

Temporal keeps no result of such a run. The result is therefore stored as the result of the last local activity, where
readers find it (`open_responses/io/temporal/ends_of_runs.py`).
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.error_words import own_words
    from open_responses.loop.payloads.finish import FinishedResponse
    from open_responses.loop.payloads.start import StartResponse
    from workflows import calls
    from workflows.patches import patched
    from workflows.tasks import next_task


async def be_cancelled(*, is_announced: bool = False) -> None:
    """Have Temporal request the run's cancellation, unless it already has: only a run with such a request can end as
    Canceled.

    Returns in a later workflow task, in which the request has arrived. `is_announced`: clients were sent the end. The
    task then goes on behind a timer, which makes readers wait for it (`open_responses/io/temporal/task_in_doubt.py`).
    """
    if workflow.cancellation_reason() is not None:
        return
    try:
        await calls.request_cancellation()
    except calls.LOCAL_FAILED:
        workflow.logger.warning("the run could not be cancelled, and ends as failed")
        return
    if is_announced or not patched("cancelled-without-a-timer"):
        await next_task()
    else:
        # The request is in history, and arrives with the next task.
        await workflow.wait_condition(lambda: workflow.cancellation_reason() is not None)


async def keep(finished: FinishedResponse) -> None:
    """Keep the result of a run that is to fail or to be cancelled."""
    if finished.response["status"] in ("failed", "cancelled"):
        await calls.keep_end(finished)


def end_alike(start: StartResponse, finished: FinishedResponse) -> FinishedResponse:
    """Return the result, or raise the error with which the run ends as its response did."""
    status = finished.response["status"]
    if status == "cancelled":
        raise CancelledError("The response was cancelled.")
    if status == "failed":
        error = finished.response["error"]
        code = error["code"]
        # A response with `store: false` must leave nothing readable, and its history is deleted only later.
        reason = f"{code}: {error['message']}" if start.request.is_stored else own_words(code)
        # A response that this one is an agent of counts its tokens.
        used = () if start.agent_of is None or finished.usage is None else ({"usage": finished.usage.model_dump()},)
        raise ApplicationError(reason, *used, type=code, non_retryable=True)
    return finished
