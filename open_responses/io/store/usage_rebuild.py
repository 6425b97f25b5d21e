"""After a loss of Redis, counts the usage of all ended responses that Temporal has, and what keys have spent.

Each run keeps its usage in its memo, so a page of a list has that of many responses. A run of an earlier version has no
memo: its result is read. Temporal no longer has the responses that were deleted or not stored, nor those that ended
longer ago than it keeps runs; they are lost from the counts.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import structlog
from temporalio.client import Client, WorkflowExecution
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.redis.rate_limits import recount
from open_responses.io.redis.usage_counters import UsageCounters, count
from open_responses.io.temporal.ends_of_runs import end_of_run
from open_responses.io.temporal.large_payloads import ERASED
from open_responses.io.temporal.usage_memo import usage_of
from open_responses.loop.payloads.finish import UsageRecord
from open_responses.loop.payloads.names import WORKFLOW
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.loop.search_attributes import MODEL, TENANT

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 2.0
# Temporal's list lags behind the ends of runs by about a second.
_LAG_SECONDS = 2.0
# The process that rebuilds may die. Then another begins anew.
_BUSY_SECONDS = 60
_PAGE = 200
_ENDED = "ExecutionStatus IN ('Completed', 'Failed', 'Canceled', 'Terminated', 'TimedOut')"
_QUERY = f"WorkflowType = '{WORKFLOW}' AND {_ENDED}"
_TENANT, _MODEL = (SearchAttributeKey.for_keyword(name) for name in (TENANT, MODEL))


class _Ended(NamedTuple):
    """A run that has ended, and when."""

    record: UsageRecord
    at: datetime


class UsageRebuild:
    """Rebuilds the counts. One worker of the fleet does so at a time."""

    def __init__(self, redis: Redis, temporal: Client) -> None:
        self._redis = redis
        self._temporal = temporal
        self._counters = UsageCounters(redis)

    async def run(self) -> None:
        """Check until cancelled whether the counts are complete, and rebuild them if they are not."""
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            try:
                if not await self._counters.are_whole():
                    await asyncio.sleep(_LAG_SECONDS)
                    await self.rebuild()
            except (RPCError, *RedisDown) as error:
                log.info("usage_not_rebuilt", reason=f"{type(error).__name__}: {error}")

    async def rebuild(self) -> int | None:
        """Count whatever is not counted yet, and note that the counts are whole.

        Returns the number of responses that were counted; None if another process rebuilds, or Redis lost the counts
        meanwhile. Raises RedisDown and RPCError.
        """
        mine = secrets.token_hex(8)
        if not await self._redis.set(key_names.USAGE_REBUILDING, mine, nx=True, ex=_BUSY_SECONDS):
            return None
        counted, page = 0, list[_Ended]()
        async for run in self._temporal.list_workflows(_QUERY, page_size=_PAGE):
            page.append(_Ended(await self._used_by(run), run.close_time or datetime.now(UTC)))
            if len(page) == _PAGE:
                counted += await self._count(page)
                page = []
                if not await self._is_mine(mine):
                    return None
        counted += await self._count(page)
        if not await self._is_mine(mine):
            return None
        await self._counters.set_whole()
        log.info("usage_rebuilt", counted=counted)
        return counted

    async def _is_mine(self, mine: str) -> bool:
        """Whether Redis still has this process's mark, which is then renewed. A flush removes it with the counts."""
        return await self._redis.getex(key_names.USAGE_REBUILDING, ex=_BUSY_SECONDS) == mine.encode()

    async def _count(self, page: Sequence[_Ended]) -> int:
        pipe, counts = self._redis.pipeline(transaction=False), list[int]()
        for ended in page:
            if ended.record.tenant:
                recount(pipe, ended.record, ended.at)
                count(pipe, ended.record)
                counts.append(len(pipe) - 1)
        replies = await pipe.execute()
        return sum(replies[index] for index in counts)

    async def _used_by(self, run: WorkflowExecution) -> UsageRecord:
        return await usage_of(run) or await self._from_result(run)

    async def _from_result(self, run: WorkflowExecution) -> UsageRecord:
        """Read the usage from the result of a run without a memo.

        Such a run is of an earlier version, or an operator ended it.
        """
        known = run.typed_search_attributes
        record = UsageRecord(
            response_id=run.id,
            tenant=known.get(_TENANT) or "",
            model=known.get(_MODEL) or "",
            status="failed",
            created_at=int((run.start_time or datetime.now(UTC)).timestamp()),
        )
        try:
            finished = await end_of_run(self._temporal, run)
        except ERASED:
            finished = None
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            finished = None
        if finished is None:
            return record
        response = finished.response
        usage = finished.usage or (TurnUsage.shown(response["usage"]) if response["usage"] is not None else None)
        found = {"status": response["status"], "created_at": response["created_at"], "usage": usage}
        return record.model_copy(update=found)
