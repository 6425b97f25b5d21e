"""Checks whether Temporal still waits for this attempt."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.client import AsyncActivityCancelledError
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.log.lives import Authority

_ANSWER_WITHIN = timedelta(seconds=5)


def authority_of_this_attempt() -> Authority:
    """Call it inside of the activity.

    A heartbeat names the attempt by its task token. Temporal rejects the heartbeat if another worker completed the
    attempt, or if the attempt has timed out, or if its run has ended. An attempt that is to be cancelled has no
    authority either, because the workflow does not wait for it.
    """
    info = activity.info()
    handle = activity.client().get_async_activity_handle(task_token=info.task_token)

    async def is_current() -> bool:
        try:
            await handle.heartbeat(rpc_timeout=_ANSWER_WITHIN)
        except AsyncActivityCancelledError as cancelled:
            return not (cancelled.details and cancelled.details.cancel_requested)
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    return Authority(is_current, (info.workflow_run_id or "").encode())
