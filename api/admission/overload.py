"""Refuses new work while Temporal's task queue is longer or older than the limits.

Without it the queue only grows, and clients give up before their task is reached. A tenant that filled the queue must
not lock out the others: Temporal dispatches tasks by tenant, so a key with few running responses is admitted for as
long as workers take tasks from the queue.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from open_responses.errors import Unavailable
from open_responses.io.background import in_background
from open_responses.io.temporal.task_queues import ACTIVITY_TASKS, WORKFLOW_TASKS, describe_queue

log = structlog.get_logger(__name__)

_FRESH_SECONDS = 1.0
# An older reading is not used: the next request waits up to `_PATIENCE_SECONDS` for a new one.
_STALE_SECONDS = 5.0
_PATIENCE_SECONDS = 0.5
_LONGEST_READING = timedelta(seconds=3)
_RETRY_AFTER_SECONDS = 5.0
# After a crash, Temporal counts tasks that were already taken for about ten seconds.
_LEFT_OVER_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Tasks that wait for a worker, the age of the oldest in seconds, and whether workers take any (`moves`)."""

    tasks: int = 0
    age: float = 0.0
    moves: bool = True


@dataclass(frozen=True, slots=True)
class Overload:
    """The queue is over its limits. `moves`: workers still take tasks, so a tenant with few of them is served soon."""

    moves: bool
    error: Unavailable


class Backlog:
    """Reads the backlog at most once a second in each process, and only while requests arrive."""

    def __init__(self, temporal: Client, *, max_tasks: int, max_age_seconds: float) -> None:
        self._temporal = temporal
        self._max = Reading(max_tasks, max_age_seconds)
        self._last = Reading()
        self._read_at = float("-inf")
        self._old_since: float | None = None
        self._reading: asyncio.Task[None] | None = None

    async def overload(self) -> Overload | None:
        """The overload that new work is refused with, or None when there is room."""
        age = time.monotonic() - self._read_at
        if age > _FRESH_SECONDS and (self._reading is None or self._reading.done()):
            self._reading = in_background("read the backlog", self._read())
        if age > _STALE_SECONDS and self._reading is not None:
            await asyncio.wait({self._reading}, timeout=_PATIENCE_SECONDS)
        if self._last.tasks <= self._max.tasks and not self._stands_still:
            return None
        return Overload(
            moves=self._last.moves,
            error=Unavailable(
                f"The server is overloaded: {self._last.tasks} tasks wait for a worker, the oldest for "
                f"{self._last.age:.0f} s. Nothing was started. Try again after the time in Retry-After.",
                code="overloaded",
                retry_after=_RETRY_AFTER_SECONDS,
            ),
        )

    @property
    def _stands_still(self) -> bool:
        """Whether a task has been too old for longer than Temporal counts tasks that a crash left over."""
        if self._old_since is None:
            return False
        return time.monotonic() - self._old_since >= min(_LEFT_OVER_SECONDS, self._max.age)

    async def _read(self) -> None:
        try:
            queues = await asyncio.gather(
                *(
                    describe_queue(self._temporal, kind, within=_LONGEST_READING)
                    for kind in (WORKFLOW_TASKS, ACTIVITY_TASKS)
                )
            )
        except RPCError as error:
            # If Temporal is away, the start of the workflow fails with its own error.
            log.info("backlog_unknown", reason=str(error))
            self._last = Reading()
        else:
            longest = max(queues, key=lambda queue: (queue.oldest_seconds, queue.tasks))
            self._last = Reading(longest.tasks, longest.oldest_seconds, moves=longest.taken_per_second > 0)
        self._read_at = time.monotonic()
        if self._last.age <= self._max.age:
            self._old_since = None
        elif self._old_since is None:
            self._old_since = self._read_at
