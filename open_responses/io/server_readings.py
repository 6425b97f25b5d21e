"""Numbers of the whole server, for the metrics.

They are read from Temporal and Redis while a Prometheus scrapes this process.

Each scraped API process reads the same numbers, so dashboards take the maximum. A scrape does not wait for a reading,
but gets the last one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from open_responses.io.metrics import recording as metrics
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.redis.leases import count_living_workers
from open_responses.io.temporal.task_queues import ACTIVITY_TASKS, WORKFLOW_TASKS, describe_queue
from open_responses.loop.search_attributes import AWAITING_APPROVAL, RETRYING, STATUS

log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 5.0
_LOOK_SECONDS = 0.5
# Longer than a Prometheus leaves between two scrapes.
_WANTED_SECONDS = 150.0
_LONGEST_READING = timedelta(seconds=3)
_KINDS = {"workflow": WORKFLOW_TASKS, "activity": ACTIVITY_TASKS}
_WAITING = {"approval": AWAITING_APPROVAL, "retry": RETRYING}


class ServerReadings:
    """Reads every five seconds, from the first scrape on, for as long as scrapes follow each other."""

    def __init__(self, redis: Redis, temporal: Client, providers: Iterable[str]) -> None:
        self._redis = redis
        self._temporal = temporal
        self.providers = tuple(providers)
        """The names of the providers in the configuration, which may change."""
        self._wanted_until = float("-inf")

    def want(self) -> None:
        """Note a scrape. Any thread may call this."""
        self._wanted_until = time.monotonic() + _WANTED_SECONDS

    async def run(self) -> None:
        """Read until cancelled."""
        read_at = float("-inf")
        while True:
            now = time.monotonic()
            if now < self._wanted_until and now - read_at >= _PAUSE_SECONDS:
                await asyncio.gather(self._read_redis(), self._read_temporal())
                read_at = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _read_redis(self) -> None:
        try:
            living = await count_living_workers(self._redis)
            running = await self._redis.zcard(key_names.OPEN)
            until = [await self._redis.hget(key_names.breaker(name), "until") for name in self.providers]
        except RedisDown as error:
            log.info("not_read", what="redis", reason=str(error))
            metrics.dependency_is_up("redis", False)
            return
        metrics.dependency_is_up("redis", True)
        metrics.workers_read(living)
        metrics.running_read(running)
        for name, end in zip(self.providers, until, strict=True):
            metrics.breaker_read(name, is_open=end is not None)

    async def _read_temporal(self) -> None:
        try:
            for name, kind in _KINDS.items():
                queue = await describe_queue(self._temporal, kind, within=_LONGEST_READING)
                metrics.backlog_read(name, queue.tasks, queue.oldest_seconds)
            for reason, status in _WAITING.items():
                which = f"{STATUS} = '{status}' AND ExecutionStatus = 'Running'"
                found = await self._temporal.count_workflows(which, rpc_timeout=_LONGEST_READING)
                metrics.waiting_read(reason, found.count)
        except RPCError as error:
            log.info("not_read", what="temporal", reason=str(error))
            metrics.dependency_is_up("temporal", False)
            return
        metrics.dependency_is_up("temporal", True)
