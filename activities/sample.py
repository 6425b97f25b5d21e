"""One turn of the model, as an activity: raced against being told to stop, listed in the worker's lease."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from activities.running import RunningWork, Stop
from activities.turn import Try, TurnParts
from open_responses.errors import OpenResponsesError
from open_responses.io.event_log import Fenced
from open_responses.io.leases import Lease, Running
from open_responses.payloads import SAMPLE, SampleInput, SampleResult

_HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class SampleActivity:
    """The activity, with what it works on."""

    parts: TurnParts
    lease: Lease
    running: RunningWork

    @activity.defn(name=SAMPLE)
    async def sample(self, call: SampleInput) -> SampleResult:
        """Run the turn to its end, or say how it ended. Raises ApplicationError, for Temporal to retry or not."""
        info = activity.info()
        named = Running(info.workflow_id or "", info.workflow_run_id or "", info.activity_id)
        self.lease.began(named)
        stop = self.running.enter(call.response_id)
        beats = asyncio.create_task(_beat())
        try:
            this = Try(self.parts, call, info.attempt, lambda: self.running.cancel(call.response_id))
            return await self._until_stopped(this, stop)
        finally:
            beats.cancel()
            self.running.leave(call.response_id, stop)
            self.lease.ended(named)

    async def _until_stopped(self, this: Try, stop: asyncio.Future[Stop]) -> SampleResult:
        """Race the turn against being told to stop; either way the provider's connection is closed."""
        turn: asyncio.Task[SampleResult] = asyncio.create_task(this.run())
        waiting: list[asyncio.Future[Any]] = [turn, stop]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if turn.done():
                return turn.result()
        finally:
            if not turn.done():
                turn.cancel()
                with contextlib.suppress(asyncio.CancelledError, OpenResponsesError, Fenced):
                    await turn
        if this.writer is not None:
            with contextlib.suppress(TimeoutError, Fenced):
                await asyncio.wait_for(this.writer.flush(), 1.0)
        return SampleResult(outcome=stop.result(), reason=stop.result())


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_HEARTBEAT_SECONDS)
