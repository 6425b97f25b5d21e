"""Ends a response: stores it, then appends the terminal event. In this order, so that a client that receives the
terminal event can fetch the response."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import orjson
from temporalio import activity

from open_responses.events.assembler import Assembler
from open_responses.events.event_types import TERMINAL_EVENTS
from open_responses.events.fold import Fold
from open_responses.events.lifecycle import opening_events, terminal_events
from open_responses.events.trace import Op, count_events
from open_responses.io.log.appender import Appender
from open_responses.io.log.fenced_log import fence_and_read, paid_before
from open_responses.io.log.fences import fence
from open_responses.io.log.state_fields import cost_field
from open_responses.io.log.writer import AppendRefused, Diverged, Fenced, Writer
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.store.outside_ends import OutsideEnds
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.used_tokens import used_by
from open_responses.io.telemetry.responses import response_ended
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.finish import FinishInput, FinishResult, UsageRecord, final_resource
from open_responses.loop.payloads.names import CLOSE_CUT_OFF_SAMPLE, FINISH
from open_responses.loop.payloads.usage import TurnUsage, usage_with


@dataclass(frozen=True, slots=True)
class FinishActivity:
    """The activity, with the clients that it uses. Safe to run twice: the log refuses a second terminal event."""

    redis: Redis
    store: ResponseStore
    appender: Appender
    marks: ErasureMarks
    outside_ends: OutsideEnds
    log_ttl_seconds: int

    @activity.defn(name=FINISH)
    async def finish(self, call: FinishInput) -> FinishResult:
        """End the response. Returns what only the log had.

        Raises RedisDown's family during an outage; the workflow retries then.
        """
        if (earlier := await self.store.ended(call.start.response_id)) is not None:
            # An earlier attempt of this activity wrote this end, or an earlier run before an operator's reset, or a
            # process that ended the response after the run was terminated.
            await self.outside_ends.announce(call.start, earlier)
            return FinishResult(announced=earlier.response, trace=earlier.trace, usage=earlier.usage)
        if call.has_diverged:
            return await self._adopted(call)
        try:
            return await self._finish(call)
        except Diverged:
            return await self._adopted(call)
        except Fenced:
            if not await self.outside_ends.is_closed(call.start.response_id):
                raise
            ended = await self.outside_ends.write(call.start, call.ending, call.ended_at)
            if ended is None:
                raise
            return FinishResult(announced=ended.response, trace=ended.trace, usage=ended.usage)

    @activity.defn(name=CLOSE_CUT_OFF_SAMPLE)
    async def close_cut_off_sample(self, call: FinishInput) -> FinishResult | None:
        """Close the items that a stopped sample left open in the log, and return what it left.

        It precedes `finish`, so that history has these items before their end is announced. Otherwise Redis could be
        emptied after the end, while Temporal repeats the task of `finish`. Returns None if `finish` will find an end or
        another writer.
        """
        if await self.store.has_ended(call.start.response_id):
            return None
        try:
            _, left = await self._open(call)
        except (Fenced, Diverged):
            return None
        return left

    async def _finish(self, call: FinishInput) -> FinishResult:
        writer, result = await self._open(call)
        output = [*call.output, *result.items]
        usage = usage_with(call.usage, result.paid)
        response = _resource(call, output, usage)
        await self._keep(call, response, [*call.trace, *result.trace], usage)
        writer.record(cost_field(usage))
        writer.write(terminal_events(response))
        # The end is stored: readers find it in the store and in Temporal.
        with contextlib.suppress(AppendRefused):
            await writer.flush()
        # The end is announced. An outage of Redis that begins now must not keep Temporal from recording it.
        with contextlib.suppress(*RedisDown):
            await self.store.age_log(call.start)
            if call.ending.status != "completed":
                # Temporal cancels a tool call that is no longer needed at its next heartbeat; this message is faster.
                await self.store.tell_workers_to_stop(call.start.response_id)
        return result

    async def _adopted(self, call: FinishInput) -> FinishResult:
        """End the response with the events in the log, which an earlier run of the same workflow task has published."""
        left = await fence_and_read(
            self.redis, call.start.response_id, self._fence(call), 0, turn=0, ttl=self.log_ttl_seconds
        )
        if left.refused:
            raise Fenced
        blank = call.model_copy(update={"output": [], "trace": []})
        writer = self._writer(blank, Fold())
        _adopt(writer, left.events)
        announced = next((event["response"] for event in left.events if event["type"] in TERMINAL_EVENTS), None)
        if announced is None:
            writer.write(Assembler(writer.fold).abandon())
            await writer.flush()
        trace, usage = list(writer.trace.ops), usage_with(call.usage, call.paid)
        response = announced or _resource(call, writer.fold.output, usage)
        await self._keep(call, response, trace, usage)
        if announced is None:
            writer.write(terminal_events(response))
            await writer.flush()
        await self.store.age_log(call.start)
        return FinishResult(announced=response, trace=trace, usage=usage)

    async def _keep(self, call: FinishInput, response: JsonObject, trace: list[Op], usage: TurnUsage | None) -> None:
        used = used_by(
            response,
            context_tokens=call.start.context_tokens,
            was_cut_off=call.cut_off or call.was_cut_off,
            usage=usage,
        )
        counted = UsageRecord.of(call.start, response["status"], usage)
        stored = await self.store.finish(call.start, orjson.dumps(response), trace, used, counted, call.agents)
        if stored.is_first:
            response_ended(call, response, usage)
            metrics.response_ended(call.start, response["status"], response["error"], usage)
        if not stored.is_kept:
            # The workflow was started after or during the deletion, so Temporal may have the response again.
            await asyncio.to_thread(self.marks.promise, call.start.response_id)

    async def _open(self, call: FinishInput) -> tuple[Writer, FinishResult]:
        """The writer behind the last event, and what a sample that was cut off left in the log."""
        if not call.cut_off:
            return self._writer(call, Fold(call.output)), FinishResult(paid=call.paid)
        first = count_events(call.trace)
        left = await fence_and_read(
            self.redis, call.start.response_id, self._fence(call), first, turn=call.turn, ttl=self.log_ttl_seconds
        )
        if left.refused:
            raise Fenced
        writer = self._writer(call, Fold(call.output))
        _adopt(writer, left.events)
        if not left.events and first == 0:
            writer.write(opening_events(call.start.initial()))
        writer.write(Assembler(writer.fold).abandon())
        await writer.flush()
        return writer, FinishResult(
            items=writer.fold.output[len(call.output) :],
            trace=writer.trace.ops[len(call.trace) :],
            paid=TurnUsage.of(paid_before(call.paid, left)),
        )

    def _writer(self, call: FinishInput, fold: Fold) -> Writer:
        writer = Writer(
            self.appender, call.start.response_id, fence=self._fence(call), initial=call.start.initial(), fold=fold
        )
        writer.recall(call.trace)
        return writer

    @staticmethod
    def _fence(call: FinishInput) -> int:
        return fence(call.epoch, 0)


def _resource(call: FinishInput, output: list[JsonObject], usage: TurnUsage | None) -> JsonObject:
    return final_resource(
        call.start,
        call.ending,
        output,
        usage,
        call.ended_at,
        fallback=call.fallback,
        reported=call.reported,
        agents=call.agents,
    )


def _adopt(writer: Writer, events: list[JsonObject]) -> None:
    """Add the log's events to the writer, without a terminal event."""
    for event in events:
        if event["type"] not in TERMINAL_EVENTS and event["type"] != "error":
            writer.adopt(event)
