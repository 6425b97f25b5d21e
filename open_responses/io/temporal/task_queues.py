"""The task queue of all workers, as Temporal describes it: the tasks that wait in it, and the workers that poll it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from open_responses.loop.payloads.names import TASK_QUEUE

WORKFLOW_TASKS = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
ACTIVITY_TASKS = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


@dataclass(frozen=True, slots=True)
class DescribedQueue:
    """Tasks that wait for a worker, the age of the oldest in seconds, and the tasks that workers take in a second.

    Temporal lists a poller for minutes after its process died.
    """

    tasks: int
    oldest_seconds: float
    taken_per_second: float
    pollers: Sequence[PollerInfo]


async def describe_queue(
    temporal: Client, kind: TaskQueueType.ValueType, *, within: timedelta, with_tasks: bool = True
) -> DescribedQueue:
    """Describe the queue of one kind of tasks, by one call. Raises RPCError.

    Without `with_tasks`, Temporal counts nothing: all numbers are 0.
    """
    query = DescribeTaskQueueRequest(
        namespace=temporal.namespace,
        task_queue=TaskQueue(name=TASK_QUEUE),
        task_queue_type=kind,
        report_stats=with_tasks,
    )
    found = await temporal.workflow_service.describe_task_queue(query, retry=False, timeout=within)
    return DescribedQueue(
        tasks=found.stats.approximate_backlog_count,
        oldest_seconds=found.stats.approximate_backlog_age.ToTimedelta().total_seconds(),
        taken_per_second=found.stats.tasks_dispatch_rate,
        pollers=found.pollers,
    )
