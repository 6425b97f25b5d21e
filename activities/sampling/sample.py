"""One turn of the model, as an activity: raced against being told to stop, listed in the worker's lease."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.sampling.attempt import Try
from activities.sampling.attempt_state import TurnParts
from activities.worker.cancellation_registry import RunningWork, Stop
from activities.worker.running_activity import running_activity
from open_responses.errors import OpenResponsesError
from open_responses.io.log.takeover import has_ended
from open_responses.io.log.writer import Diverged, Fenced, LogLost
from open_responses.io.redis.leases import Lease
from open_responses.loop.payloads import SAMPLE, SampleInput, SampleResult

_FLUSH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class SampleActivity:
    """The activity, with what it works on."""

    parts: TurnParts
    lease: Lease
    running: RunningWork
    leaving: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    @activity.defn(name=SAMPLE)
    async def sample(self, call: SampleInput) -> SampleResult:
        """Run the turn to its end, or say how it ended. Raises ApplicationError, for Temporal to retry or not."""
        with running_activity(self.lease, self.running, call.response_id) as stop:
            attempt = activity.info().attempt
            this = Try(self.parts, call, attempt, lambda: self.running.cancel(call.response_id))
            return await self._until_stopped(this, stop)

    async def _until_stopped(self, this: Try, stop: asyncio.Future[Stop]) -> SampleResult:
        """Race the turn against being told to stop; either way the provider's connection is closed."""
        turn: asyncio.Task[SampleResult] = asyncio.create_task(this.run())
        waiting: list[asyncio.Future[Any]] = [turn, stop]
        has_ended_itself = False
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            has_ended_itself = turn.done()
        finally:
            if not turn.done():
                turn.cancel()
                with contextlib.suppress(asyncio.CancelledError, OpenResponsesError, Fenced):
                    await turn
            if this.background.is_running:
                await self._shielded(self._end_answer(this, turn, stop))
        if has_ended_itself:
            return turn.result()
        this.stop()
        if this.writer is not None:
            with contextlib.suppress(TimeoutError, Fenced, LogLost, Diverged):
                await asyncio.wait_for(this.writer.flush(), _FLUSH_SECONDS)
        return SampleResult(outcome=stop.result(), reason=stop.result(), usage=this.paid)

    async def _shielded(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs to its end, also where the activity is cancelled meanwhile."""
        leaving = asyncio.create_task(last)
        self.leaving.add(leaving)
        leaving.add_done_callback(self.leaving.discard)
        await asyncio.shield(leaving)

    async def _end_answer(self, this: Try, turn: asyncio.Task[SampleResult], stop: asyncio.Future[Stop]) -> None:
        """Cancel what runs on at the provider, if no other try will read it again."""
        if is_given_up(turn, stop) or (not stop.done() and await has_ended(self.parts.redis, this.response_id)):
            await this.background.cancel()


def is_given_up(turn: asyncio.Task[SampleResult], stop: asyncio.Future[Stop]) -> bool:
    """Whether the response was cancelled, or the turn has failed for good. Not with a worker that shuts down, nor where
    Temporal no longer knows the activity: then another worker may have it."""
    if stop.done():
        return stop.result() == "cancelled"
    why = activity.cancellation_details()
    if why is not None and why.cancel_requested:
        return True
    failure = None if turn.cancelled() else turn.exception()
    return isinstance(failure, ApplicationError) and failure.non_retryable
