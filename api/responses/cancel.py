"""Cancel: stop a running response."""

from __future__ import annotations

import contextlib

from temporalio.service import RPCError, RPCStatusCode

from api.app_state import AppState
from open_responses.io.redis.client import RedisDown


async def cancel(state: AppState, response_id: str) -> None:
    """Ask the worker to stop at once, through Redis, and signal the workflow, which is durable.

    A response that has ended meanwhile stays as it is. Raises TemporalDown: then the request may be lost.
    """
    with contextlib.suppress(*RedisDown):
        await state.store.request_cancel(response_id)
    try:
        await state.temporal.get_workflow_handle(response_id).signal("cancel")
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
