"""Is there a worker for one more? How much work waits, as Temporal has it; beyond a limit new work is refused.

What this prevents: a queue that only grows, in which every client has given up before its turn comes.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from open_responses.errors import Unavailable
from open_responses.payloads import TASK_QUEUE

log = structlog.get_logger(__name__)

_FRESH_SECONDS = 1.0
# After a quiet time the last reading says nothing: the next request waits for a new one, but not for long.
_STALE_SECONDS = 5.0
_PATIENCE_SECONDS = 0.5
_RETRY_AFTER_SECONDS = 5.0
_KINDS = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)


@dataclass(frozen=True, slots=True)
class Reading:
    """Tasks that wait for a worker, and for how long the oldest does, in seconds."""

    tasks: int = 0
    age: float = 0.0


class Backlog:
    """Reads it at most once a second in each process, and only while requests come."""

    def __init__(self, temporal: Client, *, max_tasks: int, max_age_seconds: float) -> None:
        self._temporal = temporal
        self._max = Reading(max_tasks, max_age_seconds)
        self._last = Reading()
        self._read_at = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Raises Unavailable, before anything is accepted, when too much work waits."""
        age = time.monotonic() - self._read_at
        if age > _FRESH_SECONDS and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read())
        if age > _STALE_SECONDS and self._reading is not None:
            await asyncio.wait({self._reading}, timeout=_PATIENCE_SECONDS)
        if self._last.tasks > self._max.tasks or self._last.age > self._max.age:
            raise Unavailable(
                f"The server has too much to do: {self._last.tasks} steps wait for a worker, the oldest for "
                f"{self._last.age:.0f} s. Nothing was started; try again later.",
                code="overloaded",
                retry_after=_RETRY_AFTER_SECONDS,
            )

    async def _read(self) -> None:
        try:
            readings = await asyncio.gather(*(self._read_kind(kind) for kind in _KINDS))
        except (RPCError, RuntimeError) as error:
            # Whether Temporal is there shows at the start itself.
            log.info("backlog_unknown", reason=str(error))
            self._last = Reading()
        else:
            self._last = Reading(max(r.tasks for r in readings), max(r.age for r in readings))
        self._read_at = time.monotonic()

    async def _read_kind(self, kind: TaskQueueType.ValueType) -> Reading:
        query = DescribeTaskQueueRequest(
            namespace=self._temporal.namespace,
            task_queue=TaskQueue(name=TASK_QUEUE),
            task_queue_type=kind,
            report_stats=True,
        )
        stats = (await self._temporal.workflow_service.describe_task_queue(query, retry=False)).stats
        return Reading(stats.approximate_backlog_count, stats.approximate_backlog_age.ToTimedelta().total_seconds())
