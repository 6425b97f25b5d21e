"""How long a worker takes from its start to its first poll, as Temporal sees it."""

from __future__ import annotations

import asyncio
import time

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from benchmarks.processes import cpu_seconds
from dev.supervisor import new_worker_id
from open_responses.loop.payloads.names import TASK_QUEUE
from tests.support.stack import Stack

_NAME = "worker-9"
_LOOK_SECONDS = 0.01
_LONGEST_SECONDS = 60.0


async def seconds_to_first_poll(stack: Stack) -> float:
    """Start one more worker on the stack, wait for its first poll for a workflow task, and end it again."""
    seconds, _ = await cost_of_first_poll(stack)
    return seconds


async def cost_of_first_poll(stack: Stack) -> tuple[float, float]:
    """The same, with the CPU seconds that the worker has spent by then."""
    temporal = await Client.connect(stack.temporal_address)
    asking = DescribeTaskQueueRequest(
        namespace="default",
        task_queue=TaskQueue(name=TASK_QUEUE),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    worker_id = new_worker_id(9)
    began = time.perf_counter()
    await stack.start(_NAME, worker_id)
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            while True:
                answer = await temporal.workflow_service.describe_task_queue(asking)
                if any(poller.identity.startswith(worker_id) for poller in answer.pollers):
                    return time.perf_counter() - began, cpu_seconds(stack.processes[_NAME].pid)
                await asyncio.sleep(_LOOK_SECONDS)
    finally:
        process = stack.processes.pop(_NAME)
        process.terminate()
        await asyncio.to_thread(process.wait)
