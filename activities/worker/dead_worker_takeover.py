"""Takeover of a dead worker's activities: completes them on its behalf, so that the workflow schedules them again at
once instead of waiting for a timeout."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import structlog
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import AsyncActivityHandle, Client, WorkflowExecutionDescription
from temporalio.converter import WorkflowSerializationContext
from temporalio.service import RPCError, RPCStatusCode

from activities.worker.cancellation_registry import RunningWork
from activities.worker.dead_worker_detector import DeadWorkerDetector, IsDead, IsOrphaned, OrphanSearch
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.redis.leases import Running
from open_responses.io.temporal.client import TemporalAway, unstick
from open_responses.io.temporal.large_payloads import ERASED
from open_responses.io.temporal.visibility import moment
from open_responses.loop.payloads.names import LIST_MCP_TOOLS, RUN_PROGRAM_STEP, SAMPLE, WORKFLOW
from open_responses.loop.payloads.programs import ProgramStepResult
from open_responses.loop.payloads.sample import SampleResult
from open_responses.loop.payloads.tool_calls import FLEET_PREFIX, McpListResult, ToolResult
from open_responses.schema.payload import Payload

log = structlog.get_logger(__name__)

# Far longer than a start takes (`start_patience_seconds`).
_START_TAKES_SECONDS = 300.0
_RUNNING = f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus = 'Running'"
_LOST = "worker lost"
# The responses that a takeover reads at once. It must not take Temporal from the streams of the workers that live.
_AT_ONCE = 16


def lost_result(activity: Running) -> Payload:
    """The result that the workflow receives instead of the activity's own; each kind of activity has its type.

    `finish`, `publish` and `claim_approvals` are local activities: Temporal repeats them with the workflow's task.
    """
    if activity.kind in (SAMPLE, ""):
        return SampleResult(outcome="lost", reason=_LOST)
    if activity.kind == LIST_MCP_TOOLS:
        return McpListResult(outcome="lost", error=_LOST)
    if activity.kind == RUN_PROGRAM_STEP:
        return ProgramStepResult(outcome="lost", reason=_LOST, attempts=activity.attempt)
    # A hosted tool's activity has the tool's name.
    return ToolResult(outcome="lost", reason=_LOST, attempts=activity.attempt)


class WorkerTakeover:
    """Completes the activities of a dead worker, and hands over the workflows of one that leaves."""

    def __init__(self, temporal: Client, redis: Redis) -> None:
        self._temporal = temporal
        self._redis = redis

    async def take_over(self, dead: Mapping[str, list[Running]], is_dead: IsDead) -> Mapping[str, Sequence[str]]:
        """Complete the listed activities of these workers as lost, and find those that they had no time to list.

        The listed ones come first, of all workers: to find the others takes a look at each open response.

        Returns:
            Worker -> the response of each activity that was not listed.

        Raises:
            TemporalAway, RedisError: The takeover has to be repeated, which is harmless.
        """
        listed = [activity for running in dead.values() for activity in running]
        await _all(self._report_lost(activity) for activity in listed)
        return await self._take_over_unlisted(dead, {activity.workflow_id for activity in listed}, is_dead)

    async def forget_stickiness(self, workflow_ids: Iterable[str]) -> None:
        """Send the next task of these workflows to any worker, and not to the one that is leaving."""
        await asyncio.gather(*(unstick(self._temporal, workflow_id) for workflow_id in workflow_ids))

    async def find_orphans(self, is_orphaned: IsOrphaned, search: OrphanSearch) -> None:
        """Report as lost the activities that Temporal has dispatched to workers without a lease. The lease of each
        worker is checked at that moment."""
        before = moment(datetime.fromtimestamp(search.started_before, UTC))
        try:
            async for execution in self._temporal.list_workflows(f"{_RUNNING} AND StartTime < {before}"):
                if execution.id in search.read:
                    continue
                try:
                    description = await self._temporal.get_workflow_handle(execution.id).describe()
                except RPCError as error:
                    if error.status != RPCStatusCode.NOT_FOUND:
                        raise
                    # It has ended and was erased since the list was made.
                    continue
                for activity, worker_id in _started_activities(description):
                    if not activity.activity_id.startswith(FLEET_PREFIX) and await is_orphaned(worker_id):
                        log.warning("orphan_found", response_id=execution.id, worker=worker_id)
                        await self._report_lost(activity)
                search.read.add(execution.id)
        except RPCError as error:
            log.warning("search_failed", reason=str(error))

    async def _take_over_unlisted(
        self, workers: Iterable[str], done: set[str], is_dead: IsDead
    ) -> Mapping[str, Sequence[str]]:
        """Report as lost the activities that the workers had not listed yet. One may die between Temporal's dispatch
        and its own entry, of one of several calls as well. Returns the response of each.

        The list of open responses may lack those of agents, which no request began; Temporal names them as children.
        """
        found: dict[str, list[str]] = {worker_id: [] for worker_id in workers}
        dead = set(found)
        members: list[tuple[bytes, float]] = await self._redis.zrange(key_names.OPEN, 0, -1, withscores=True)  # type: ignore[assignment]
        opened = {member.decode(): started_at for member, started_at in members}
        # First those of which nothing is known to be lost: of the others, a part goes on already.
        waiting = deque([*(workflow_id for workflow_id in opened if workflow_id not in done), *done])
        seen = set(waiting)

        async def look_at(workflow_id: str) -> None:
            try:
                lost, agents = await self._take_over_unlisted_of(dead, workflow_id, is_dead)
            except TemporalAway:
                raise
            except RPCError as error:
                log.info("nothing_to_take_over", response_id=workflow_id, reason=str(error))
                started_at = opened.get(workflow_id, time.time())
                if error.status == RPCStatusCode.NOT_FOUND and time.time() - started_at > _START_TAKES_SECONDS:
                    await self._take_off(workflow_id)
                return
            for worker_id in lost:
                found[worker_id].append(workflow_id)
            waiting.extend(agent for agent in agents if agent not in seen)
            seen.update(agents)

        while waiting and dead:
            some = [waiting.popleft() for _ in range(min(len(waiting), _AT_ONCE))]
            await _all(look_at(workflow_id) for workflow_id in some)
        return found

    async def _take_off(self, workflow_id: str) -> None:
        """Remove a response that was never started, or was deleted, from the list of open ones."""
        with contextlib.suppress(*RedisDown):
            await self._redis.zrem(key_names.OPEN, workflow_id)

    async def _take_over_unlisted_of(
        self, dead: set[str], workflow_id: str, is_dead: IsDead
    ) -> tuple[list[str], list[str]]:
        """Returns the worker of each activity that was reported as lost, and the workflow's children.

        A worker that has come back is taken out of `dead`: what it runs from then on is not lost. Its lease is asked
        for after Temporal was, and not the time at which an activity was started: Temporal also gives activities to a
        worker that hangs, as long as its connection is open.
        """
        description = await self._temporal.get_workflow_handle(workflow_id).describe()
        started = _started_activities(description)
        if not started:
            await unstick(self._temporal, workflow_id)
        lost: list[str] = []
        for activity, worker_id in started:
            if worker_id not in dead:
                continue
            if not await is_dead(worker_id):
                log.warning("worker_came_back", worker=worker_id)
                dead.discard(worker_id)
                continue
            await self._report_lost(activity)
            lost.append(worker_id)
        return lost, [child.workflow_id for child in description.raw_description.pending_children]

    async def _report_lost(self, activity: Running) -> None:
        await unstick(self._temporal, activity.workflow_id)
        try:
            await self._handle(activity).complete(lost_result(activity))
        except TemporalAway:
            raise
        except ERASED as error:
            # The key of the response's payloads is gone: Temporal's heartbeat ends the activity.
            log.warning("cannot_be_reported_lost", response_id=activity.workflow_id, reason=type(error).__name__)
        except RPCError as error:
            # The activity ended before its worker died, another attempt has begun, or another worker was faster.
            log.info("nothing_to_take_over", response_id=activity.workflow_id, reason=str(error))

    def _handle(self, activity: Running) -> AsyncActivityHandle:
        if not activity.task_token:
            return self._temporal.get_async_activity_handle(
                workflow_id=activity.workflow_id, run_id=activity.run_id, activity_id=activity.activity_id
            )
        context = WorkflowSerializationContext(namespace=self._temporal.namespace, workflow_id=activity.workflow_id)
        return self._temporal.get_async_activity_handle(task_token=activity.task_token).with_context(context)


async def _all(calls: Iterable[Awaitable[None]]) -> None:
    """Wait until every call has ended, and raise the first of their errors."""
    for failure in await asyncio.gather(*calls, return_exceptions=True):
        if failure is not None:
            raise failure


def _started_activities(description: WorkflowExecutionDescription) -> list[tuple[Running, str]]:
    """Each activity that Temporal has dispatched to a worker, with that worker's identity.

    An activity that waits for its next attempt is left out: no worker runs it.
    """
    return [
        (
            Running(
                description.id,
                description.run_id or "",
                pending.activity_id,
                kind=pending.activity_type.name,
                attempt=pending.attempt,
            ),
            pending.last_worker_identity,
        )
        for pending in description.raw_description.pending_activities
        if pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED and pending.last_worker_identity
    ]


async def listen(redis: Redis, running: RunningWork, detector: DeadWorkerDetector) -> None:
    """Receive the messages to all workers: `cancel`, `expired`. The loss of a message costs time and no correctness."""
    while True:
        try:
            async with redis.pubsub(ignore_subscribe_messages=True) as subscription:
                await subscription.subscribe(key_names.CONTROL)
                while True:
                    message = await subscription.get_message(timeout=60)
                    if message is not None:
                        _handle_message(message["data"].decode(), running, detector)
        except RedisDown:
            await asyncio.sleep(0.2)


def _handle_message(message: str, running: RunningWork, detector: DeadWorkerDetector) -> None:
    verb, _, subject = message.partition(" ")
    if verb == "cancel":
        running.cancel(subject)
    elif verb == "expired":
        detector.look_now()
