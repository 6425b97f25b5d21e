"""The activity `sample`: one attempt at a model turn, listed in the worker's lease, and ended early by a stop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.sampling.attempt import AttemptRun
from activities.sampling.attempt_state import SampleAttempt, SampleParts
from activities.sampling.background_generation import BackgroundAnswer
from activities.worker.cancellation_registry import RunningWork, Stop
from activities.worker.running_activity import running_activity
from open_responses.errors import OpenResponsesError
from open_responses.io.log.fenced_log import has_ended
from open_responses.io.log.writer import Diverged, Fenced, LogLost
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.leases import Lease
from open_responses.io.telemetry.activities import describe_answer, model_call
from open_responses.loop.payloads.names import SAMPLE
from open_responses.loop.payloads.sample import SampleInput, SampleResult

_FLUSH_SECONDS = 1.0


@dataclass(slots=True)
class SampleActivity:
    """The activity, with the clients that it uses.

    `reload` reads the configuration file again: an API process may have noticed a new provider before this worker.
    """

    parts: SampleParts
    lease: Lease
    running: RunningWork
    leaving: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    reload: Callable[[], Awaitable[None]] | None = field(default=None, init=False)

    @activity.defn(name=SAMPLE)
    async def sample(self, call: SampleInput) -> SampleResult:
        """Run the attempt, and return how it ended. Raises ApplicationError, for Temporal to retry or not."""
        if call.provider not in self.parts.providers and self.reload is not None:
            await self.reload()
        number, adapter = activity.info().attempt, self.parts.adapters.get(call.provider, "")
        with (
            running_activity(self.lease, self.running, call.response_id) as stop,
            model_call(call, adapter=adapter, attempt=call.tries + number - 1) as span,
        ):
            cancel, background = lambda: self.running.cancel(call.response_id), BackgroundAnswer(call.response_id)
            attempt = SampleAttempt(self.parts, call, number, cancel, background, span)
            outcome, reason = "cancelled", ""
            try:
                result = await self._until_stopped(attempt, stop)
                outcome, reason = result.outcome, result.code or ""
                describe_answer(span, call, result)
                return result
            except ApplicationError as error:
                outcome, reason = "failed", error.type or ""
                raise
            finally:
                metrics.attempt_ended(call.provider, outcome, reason)

    async def _until_stopped(self, attempt: SampleAttempt, stop: asyncio.Future[Stop]) -> SampleResult:
        """Run the attempt until it ends or `stop` is set; either way the provider's connection is closed."""
        this = AttemptRun(attempt)
        run: asyncio.Task[SampleResult] = asyncio.create_task(this.run())
        waiting: list[asyncio.Future[Any]] = [run, stop]
        has_ended_itself = False
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            has_ended_itself = run.done()
        finally:
            if not run.done():
                run.cancel()
                with contextlib.suppress(asyncio.CancelledError, OpenResponsesError, Fenced):
                    await run
            if attempt.background.is_running:
                await self._shielded(self._end_answer(attempt, run, stop))
        if has_ended_itself:
            return run.result()
        this.stop()
        if this.writer is not None:
            with contextlib.suppress(TimeoutError, Fenced, LogLost, Diverged):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await this.writer.flush()
        return SampleResult(outcome=stop.result(), reason=stop.result(), usage=this.paid)

    async def _shielded(self, last: Coroutine[Any, Any, None]) -> None:
        """Run this to its end, even if the activity is cancelled meanwhile."""
        leaving = asyncio.create_task(last)
        self.leaving.add(leaving)
        leaving.add_done_callback(self.leaving.discard)
        await asyncio.shield(leaving)

    async def _end_answer(
        self, attempt: SampleAttempt, run: asyncio.Task[SampleResult], stop: asyncio.Future[Stop]
    ) -> None:
        """Cancel the answer that the provider still generates, if no other attempt will read it."""
        response_id = attempt.call.response_id
        if is_given_up(run, stop) or (not stop.done() and await has_ended(self.parts.redis, response_id)):
            await attempt.background.cancel()


def is_given_up(run: asyncio.Task[SampleResult], stop: asyncio.Future[Stop]) -> bool:
    """Whether the response was cancelled, or the attempt has failed for good.

    False when the worker shuts down, and when Temporal no longer knows the activity: another worker may run it then.
    """
    if stop.done():
        return stop.result() == "cancelled"
    why = activity.cancellation_details()
    if why is not None and why.cancel_requested:
        return True
    failure = None if run.cancelled() else run.exception()
    return isinstance(failure, ApplicationError) and failure.non_retryable
