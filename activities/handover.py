"""Handing over what a worker ran: completes a dead worker's activities on its behalf, so that the workflow schedules
them again at once instead of waiting for a timeout."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from activities.running import RunningWork
from open_responses.io import keys
from open_responses.io.leases import Reaper, Running
from open_responses.io.redis import Redis, RedisDown
from open_responses.io.temporal import unstick
from open_responses.payloads import FLEET_PREFIX, WORKFLOW, SampleResult

log = structlog.get_logger(__name__)

_RUNNING = f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus = 'Running'"


class Handover:
    """What the reaper does with an expired lease."""

    def __init__(self, temporal: Client, redis: Redis) -> None:
        self._temporal = temporal
        self._redis = redis

    async def bury(self, worker_id: str, running: list[Running]) -> None:
        """Complete its listed activities as lost, and look for work of its that it had no time to list."""
        await asyncio.gather(*(self._lose(activity) for activity in running))
        await self._search(worker_id, {activity.workflow_id for activity in running})

    async def forget_stickiness(self, workflow_ids: Iterable[str]) -> None:
        """The next workflow task goes to any worker, and not to the one that is leaving."""
        await asyncio.gather(*(unstick(self._temporal, workflow_id) for workflow_id in workflow_ids))

    async def _search(self, worker_id: str, done: set[str]) -> None:
        """A worker may die between Temporal's dispatch and its own note of it; Temporal knows who it dispatched to."""
        try:
            members: list[bytes] = await self._redis.zrange(keys.OPEN, 0, -1)  # type: ignore[assignment]
        except RedisDown:
            return
        for workflow_id in (member.decode() for member in members):
            if workflow_id not in done:
                with contextlib.suppress(RPCError):
                    await self._search_one(worker_id, workflow_id)

    async def search(self, living: set[str]) -> None:
        """Hand over what Temporal has dispatched to workers that are not among the living."""
        try:
            async for execution in self._temporal.list_workflows(_RUNNING):
                description = await self._temporal.get_workflow_handle(execution.id).describe()
                for activity in description.raw_description.pending_activities:
                    worker_id = activity.last_worker_identity
                    if worker_id and worker_id not in living and not activity.activity_id.startswith(FLEET_PREFIX):
                        log.warning("orphan_found", response_id=execution.id, worker=worker_id)
                        await self._lose(Running(execution.id, execution.run_id or "", activity.activity_id))
        except RPCError as error:
            log.warning("search_failed", reason=str(error))

    async def _search_one(self, worker_id: str, workflow_id: str) -> None:
        description = await self._temporal.get_workflow_handle(workflow_id).describe()
        pending = description.raw_description.pending_activities
        if not pending:
            await unstick(self._temporal, workflow_id)
        for activity in pending:
            if activity.last_worker_identity == worker_id:
                await self._lose(Running(workflow_id, description.run_id or "", activity.activity_id))

    async def _lose(self, activity: Running) -> None:
        await unstick(self._temporal, activity.workflow_id)
        handle = self._temporal.get_async_activity_handle(
            workflow_id=activity.workflow_id, run_id=activity.run_id, activity_id=activity.activity_id
        )
        try:
            await handle.complete(SampleResult(outcome="lost", reason="worker lost"))
        except RPCError as error:
            # It ended before its worker did, or somebody else was faster.
            log.info("nothing_to_hand_over", response_id=activity.workflow_id, reason=str(error))


async def listen(redis: Redis, running: RunningWork, reaper: Reaper) -> None:
    """Words to all workers: who is to be cancelled, who has died. Missing one costs time, never correctness."""
    while True:
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as words:
                await words.subscribe(keys.CONTROL)
                while True:
                    message = await words.get_message(timeout=60)
                    if message is not None:
                        _obey(message["data"].decode(), running, reaper)
        except RedisDown:
            await asyncio.sleep(0.2)


def _obey(word: str, running: RunningWork, reaper: Reaper) -> None:
    verb, _, subject = word.partition(" ")
    if verb == "cancel":
        running.cancel(subject)
    elif verb == "expired":
        reaper.look_now()
