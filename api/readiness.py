"""Readiness of this process: whether Temporal, Redis and the workers answer, each by itself, in less than a second.

What this prevents: a probe that hangs with the part that it asks about. A load balancer counts that as a dead API, and
an operator does not learn which part is at fault. A part that does not answer in time is reported as such, and is not
asked again before its last call has ended, so that probes do not pile up on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, TypeAlias

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from open_responses.io.background import in_background
from open_responses.io.files.folder import FilesFolder
from open_responses.io.redis.client import IS_CLUSTER, Redis, RedisDown, is_cluster
from open_responses.io.redis.leases import count_living_workers
from open_responses.io.temporal.encryption_check import lacks_marked_key
from open_responses.io.temporal.task_queues import ACTIVITY_TASKS, WORKFLOW_TASKS, describe_queue

log = structlog.get_logger(__name__)

# Load balancers commonly wait for one second.
_PATIENCE_SECONDS = 0.7
_LONGEST_CALL = timedelta(seconds=5)
_SILENT = f"does not answer within {_PATIENCE_SECONDS} s"

NEEDED = frozenset({"temporal", "redis", "encryption_keys"})
"""The parts without which this process is not ready. Without files it is, and without workers: Temporal keeps the
responses that it starts until a worker comes, and all API processes would leave the load balancer at once."""


Problems: TypeAlias = dict[str, str]
"""A sentence for each part that is not well."""


class Readiness:
    """Asks Temporal and Redis at most once at a time."""

    def __init__(self, temporal: Client, redis: Redis, keys: Sequence[bytes], folder: FilesFolder) -> None:
        self._temporal = temporal
        self._redis = redis
        self._keys = keys
        self._folder = folder
        self._checks = (
            _Check("temporal", self._ask_temporal),
            _Check("redis", self._ask_redis),
            _Check("files", self._ask_files),
        )

    async def problems(self) -> Problems:
        """The problems of `temporal`, `redis`, `workers`, `encryption_keys` and `files`.

        Workers are seen in Redis, by their leases, and in Temporal, by their polls: Temporal lists a poller for minutes
        after its process died, and a lease expires within seconds.
        """
        temporal, redis, files = await asyncio.gather(*(check.problems() for check in self._checks))
        return {**temporal, **redis, **files}

    async def _ask_files(self) -> Problems:
        problem = await asyncio.to_thread(self._folder.problem)
        if problem is None:
            return {}
        # Not why: anybody may ask, and the reason names a path.
        log.warning("files_folder", problem=problem)
        return {"files": "the folder or the catalog of uploaded files cannot be used: the log says why"}

    async def _ask_temporal(self) -> Problems:
        for kind in (WORKFLOW_TASKS, ACTIVITY_TASKS):
            try:
                queue = await describe_queue(self._temporal, kind, within=_LONGEST_CALL, with_tasks=False)
            except RPCError as error:
                return {"temporal": f"does not answer: {error}"}
            if not queue.pollers:
                return {"workers": "no worker polls Temporal"}
        return {}

    async def _ask_redis(self) -> Problems:
        try:
            if await is_cluster(self._redis):
                return {"redis": IS_CLUSTER}
            living = await count_living_workers(self._redis)
            lacks_key = await lacks_marked_key(self._redis, self._keys)
        except RedisDown as error:
            return {"redis": f"does not answer: {error}"}
        problems = {} if living else {"workers": "no worker holds a lease"}
        if lacks_key:
            problems["encryption_keys"] = (
                "other processes encrypt with a key that is not in this one's OPEN_RESPONSES_ENCRYPTION_KEYS"
            )
        return problems


class _Check:
    """Asks one part, and does not wait longer than the patience for its answer."""

    def __init__(self, part: str, ask: Callable[[], Coroutine[Any, Any, Problems]]) -> None:
        self._part = part
        self._ask = ask
        self._asking: asyncio.Task[Problems] | None = None

    async def problems(self) -> Problems:
        if self._asking is None or self._asking.done():
            self._asking = in_background(f"readiness of {self._part}", self._ask())
        answered, _ = await asyncio.wait({self._asking}, timeout=_PATIENCE_SECONDS)
        return self._asking.result() if answered else {self._part: _SILENT}
