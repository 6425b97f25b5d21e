"""Finds runs that ended in Temporal without an end of their response: terminated, timed out, failed, deleted.

Without this a response that an operator terminates is sampled until its worker's next heartbeat, and its conversation
and its slot among an API key's running responses stay taken until a client asks.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import orjson
import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.store.records import Record
from open_responses.io.store.repository import Records
from open_responses.io.temporal.webhook_deliveries import announce_end
from open_responses.loop.payloads.finish import FinishedResponse
from open_responses.loop.payloads.names import WORKFLOW

log = structlog.get_logger(__name__)

# One query by one worker of the fleet, whatever the number of responses.
_RECENT_EVERY_SECONDS = 2.0
# Temporal's list is late. The first look goes back further, for runs that ended while no worker ran.
_RECENT = timedelta(minutes=2)
_RECENT_AT_THE_START = timedelta(minutes=15)
# Runs that were deleted are in no list. For these, each look checks this many of the open responses, in turn.
_OPEN_EVERY_SECONDS = 30.0
_OPEN_AT_ONCE = 50
_OPEN_FOR_SECONDS = 60.0
_ENDED = "ExecutionStatus IN ('Terminated', 'TimedOut', 'Failed', 'Canceled')"


class EndedRuns:
    """The search. One worker of the fleet performs it in each interval."""

    def __init__(self, records: Records, temporal: Client, redis: Redis) -> None:
        self._records = records
        self._temporal = temporal
        self._redis = redis
        self._back = _RECENT_AT_THE_START
        self._seen: set[str] = set()
        self._offset = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(_RECENT_EVERY_SECONDS)
            try:
                if await self._is_due("recent", _RECENT_EVERY_SECONDS):
                    await self._look_at_recent()
                if await self._is_due("open", _OPEN_EVERY_SECONDS):
                    await self._look_at_open()
            except (RPCError, *RedisDown) as error:
                log.info("ended_runs_not_seen", reason=type(error).__name__)

    async def _is_due(self, what: str, seconds: float) -> bool:
        milliseconds = int(seconds * 1000 * 0.9)
        return bool(await self._redis.set(key_names.look(what), "1", nx=True, px=milliseconds))

    async def _look_at_recent(self) -> None:
        since = datetime.now(UTC) - self._back
        query = f"WorkflowType = '{WORKFLOW}' AND {_ENDED} AND CloseTime > '{since.isoformat()}'"
        listed: set[str] = set()
        async for execution in self._temporal.list_workflows(query):
            listed.add(execution.run_id)
            if execution.run_id not in self._seen:
                await self._end(execution.id)
                self._seen.add(execution.run_id)
        self._seen &= listed
        self._back = _RECENT

    async def _look_at_open(self) -> None:
        store = self._records.store
        oldest = await store.open_since(_OPEN_FOR_SECONDS, self._offset, _OPEN_AT_ONCE)
        self._offset = self._offset + _OPEN_AT_ONCE if len(oldest) == _OPEN_AT_ONCE else 0
        for response_id in oldest:
            await self._end(response_id)

    async def _end(self, response_id: str) -> None:
        """End one response. Does nothing if Redis has no record of it: the first reader of the response stores its end
        then."""
        store = self._records.store
        (record,) = await store.load([response_id])
        if not isinstance(record, Record) or record.response is not None:
            if isinstance(record, Record) and record.response is not None:
                # The process that wrote the end may have died before it announced it.
                await announce_end(self._temporal, record.start, orjson.loads(record.response))
            await store.close(response_id)
            return
        outcome = await self._records.outcome(response_id)
        if isinstance(outcome, FinishedResponse):
            await self._records.settled(record)
            await store.release(record.start, outcome)
