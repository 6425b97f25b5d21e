"""Health probes for load balancers: `/healthz` and `/readyz`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.service import RPCError

from api.app_state import AppState
from api.dependencies import State
from open_responses.io.redis import key_names
from open_responses.io.redis.client import RedisDown
from open_responses.io.sealing import configured_keys
from open_responses.io.temporal.encryption_check import lacks_marked_key
from open_responses.loop.payloads import TASK_QUEUE
from open_responses.schema.http_bodies import Health

router = APIRouter()

_LEASE_PATIENCE_SECONDS = 5


@router.get("/healthz")
@router.head("/healthz")
async def healthz() -> JSONResponse:
    """This process is alive."""
    health: Health = {"status": "ok"}
    return JSONResponse(health)


@router.get("/readyz")
@router.head("/readyz")
async def readyz(state: State) -> JSONResponse:
    """Temporal and Redis answer, and at least one worker polls; 503 with what is missing."""
    checks = {"temporal": _workers(state), "redis": _redis(state)}
    problems = dict(zip(checks, await asyncio.gather(*checks.values()), strict=True))
    missing = {name: problem for name, problem in problems.items() if problem}
    if missing:
        not_ready: Health = {"status": "not ready", "missing": missing}
        return JSONResponse(not_ready, status_code=503)
    ready: Health = {"status": "ready"}
    return JSONResponse(ready)


async def _workers(state: AppState) -> str | None:
    for kind in (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY):
        query = DescribeTaskQueueRequest(
            namespace=state.temporal.namespace, task_queue=TaskQueue(name=TASK_QUEUE), task_queue_type=kind
        )
        try:
            answer = await state.temporal.workflow_service.describe_task_queue(query, retry=False)
        except RPCError as error:
            return f"Temporal does not answer: {error}"
        if not answer.pollers:
            return "no worker polls"
    return None


async def _redis(state: AppState) -> str | None:
    """Check Redis, the encryption keys, and worker leases.

    Temporal lists a poller for minutes after its process died. A lease expires within seconds.
    """
    try:
        seconds, _ = await state.redis.time()
        living = await state.redis.zcount(key_names.LEASES, (seconds - _LEASE_PATIENCE_SECONDS) * 1000, "+inf")
        if await lacks_marked_key(state.redis, configured_keys(state.settings.encryption_keys)):
            return "other processes encrypt with a key that is not in this one's OPEN_RESPONSES_ENCRYPTION_KEYS"
    except RedisDown as error:
        return f"Redis does not answer: {error}"
    return None if living else "no worker holds a lease"
