"""Appends the workflow's own events to the log: a tool call that began or ended, a server's list of tools.

A local activity: its input is not in history, since all of it follows from history.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass

import orjson
from temporalio import activity

from open_responses.events.fold import Fold
from open_responses.events.trace import count_events
from open_responses.io.log.appender import Appender
from open_responses.io.log.encoding import encode, item_field
from open_responses.io.log.fences import END_FENCE, fence
from open_responses.io.log.lives import Authority
from open_responses.io.log.reader import read_log
from open_responses.io.log.state_fields import read_last_writer
from open_responses.io.log.writer import Diverged, Fenced, LogLost, Writer
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.store.outside_ends import OVERTAKEN
from open_responses.io.store.repository import Records
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.names import PUBLISH
from open_responses.loop.payloads.publish import PublishInput, PublishResult

_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PublishActivity:
    """The activity, with the clients that it uses. Safe to run twice: the log skips events that it has."""

    redis: Redis
    appender: Appender
    records: Records

    @activity.defn(name=PUBLISH)
    async def publish(self, call: PublishInput) -> PublishResult:
        """Append the events. During an outage of Redis it gives up soon: the next writer restores the log."""
        writer = _writer(self.appender, call, self._authority(call))
        writer.write([dict(event) for event in call.events])
        writer.record({"run": (activity.info().workflow_run_id or "").encode()})
        writer.record({item_field(index): orjson.dumps(item) for index, item in call.items.items()})
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await writer.flush()
        except (LogLost, TimeoutError):
            with contextlib.suppress(*RedisDown):
                if await self.records.store.has_ended(call.response_id):
                    return PublishResult(outcome="ended")
            return PublishResult(outcome="log_lost")
        except (Fenced, Diverged):
            if await self._has_ended(call):
                return PublishResult(outcome="ended")
            # An earlier run of this workflow task may have published them, and more.
            return await self._compared(call)
        return PublishResult(outcome="published")

    def _authority(self, call: PublishInput) -> Authority | None:
        """None for the first events of the stream, which are the same in each run."""
        run_id = activity.info().workflow_run_id or ""

        async def is_current() -> bool:
            return await self.records.current_run(call.response_id) == run_id

        return Authority(is_current, run_id.encode()) if call.first_sequence > 0 else None

    async def _compared(self, call: PublishInput) -> PublishResult:
        there = await read_log(self.redis, call.response_id, call.first_sequence)
        mine = [encode(dict(event), call.first_sequence + i) for i, event in enumerate(call.events)]
        if there[: len(mine)] == mine[: len(there)]:
            return PublishResult(outcome="published" if len(there) >= len(mine) else "fenced")
        return PublishResult(outcome="diverged", there=[_bare(event) for event in there])

    async def _has_ended(self, call: PublishInput) -> bool:
        """Whether the log is closed, or another run of the workflow has written the next events.

        The latter follows an operator's reset to an earlier point; the events that clients have read stay.
        """
        owner, run = await read_last_writer(self.redis, call.response_id)
        if owner is not None and owner >= END_FENCE:
            return True
        mine = (activity.info().workflow_run_id or "").encode()
        # A stalled worker may publish for a run that ended long ago: it must not end the response.
        if run in (None, mine) or await self.records.current_run(call.response_id) != mine.decode():
            return False
        start = await self.records.request(call.response_id)
        if start is not None:
            await self.records.outside_ends.write(start, OVERTAKEN, int(time.time()))
        return True


def _bare(encoded: bytes) -> JsonObject:
    event: JsonObject = orjson.loads(encoded)
    del event["sequence_number"]
    return event


def _writer(appender: Appender, call: PublishInput, authority: Authority | None) -> Writer:
    """The writer; it can restore the earlier events only if the call has them."""
    knows = call.output is not None and call.trace is not None
    writer = Writer(
        appender,
        call.response_id,
        fence=fence(call.epoch, 0),
        initial=call.initial,
        base=0 if knows else call.first_sequence,
        fold=Fold(call.output or ()),
        authority=authority,
    )
    if call.trace is not None:
        assert count_events(call.trace) == call.first_sequence
        writer.recall(call.trace)
    return writer
