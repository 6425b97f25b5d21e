"""A worker with the shortest workflow that makes something durable: one activity, which says in Redis that it ran.

`python -m benchmarks.floor.workflow TEMPORAL_PORT REDIS_PORT`
"""

from __future__ import annotations

import sys
from datetime import timedelta

import uvloop
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "floor"

with workflow.unsafe.imports_passed_through():
    import redis.asyncio as aioredis


@workflow.defn(name="floor")
class Floor:
    @workflow.run
    async def run(self, key: str) -> None:
        await workflow.execute_activity("ran", key, start_to_close_timeout=timedelta(seconds=30))


class Ran:
    """The activity. What waits for the key continues."""

    def __init__(self, redis: aioredis.Redis) -> None:
        self._redis = redis

    @activity.defn(name="ran")
    async def ran(self, key: str) -> None:
        await self._redis.lpush(key, "1")  # type: ignore[misc]


async def main(temporal_port: int, redis_port: int) -> None:
    client = await Client.connect(f"127.0.0.1:{temporal_port}")
    redis = aioredis.Redis(host="127.0.0.1", port=redis_port)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[Floor],
        activities=[Ran(redis).ran],
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    await worker.run()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
