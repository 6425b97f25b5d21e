"""Updates of workflows: the one way in which the API sends them.

What this prevents: a request that waits for ever. An update that no worker takes has no end of its own: the SDK asks
for its outcome again and again. `tests/api/test_updates.py` finds an update or a query that is sent without a limit.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import timedelta

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.client import TemporalAway
from open_responses.schema.payload import Payload

PATIENCE_SECONDS = 15.0
"""A worker that died keeps a workflow's next task for some seconds; a client waits no longer than this."""
QUERY_TIMEOUT = timedelta(seconds=PATIENCE_SECONDS)
_PAUSE_SECONDS = 0.1
# Temporal's own failure of an update that the run had accepted, and did not complete.
_RUN_ENDED_FIRST = "AcceptedUpdateCompletedWorkflow"


async def send_update(
    client: Client,
    workflow_id: str,
    name: str,
    *args: Payload | str,
    patience_seconds: float = PATIENCE_SECONDS,
    update_id: str | None = None,
) -> object:
    """Sent under one id until Temporal takes it, so that it comes into effect once. Returns the update's result, as
    JSON.

    `update_id`: the same for requests that are to come into effect once together; by default, each is its own.

    Raises WorkflowUpdateFailedError for what the workflow refuses; RPCError, with NOT_FOUND also for a run that ended
    before it had completed the update; and TimeoutError or WorkflowUpdateRPCTimeoutOrCancelledError where no worker
    answered in time: it may then still come into effect.
    """
    handle, update_id = client.get_workflow_handle(workflow_id), update_id or uuid.uuid4().hex
    deadline = time.monotonic() + patience_seconds
    async with asyncio.timeout(patience_seconds):
        while True:
            try:
                result: object = await handle.execute_update(name, args=list(args), id=update_id)
                return result
            except WorkflowUpdateFailedError as error:
                if isinstance(error.cause, ApplicationError) and error.cause.type == _RUN_ENDED_FIRST:
                    raise RPCError(error.cause.message, RPCStatusCode.NOT_FOUND, b"") from error
                raise
            except RPCError as error:
                # ABORTED: the run has ended at this moment, and another has taken over.
                if error.status != RPCStatusCode.ABORTED and not isinstance(error, TemporalAway):
                    raise
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
