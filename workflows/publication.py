"""Publishes the workflow's own events to the log, one publication at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.output_ledger import Unpublished
    from open_responses.loop.payloads.ending import Ending
    from open_responses.loop.payloads.publish import PublishInput, PublishResult
    from workflows import calls
    from workflows.patches import patched
    from workflows.state import ResponseState


_DIVERGED = (
    "A repeated step of this response produced other events than the first time. Its output is what its stream has "
    "shown. Send your request again."
)


@dataclass(frozen=True, slots=True)
class Publication:
    """Appends the output ledger's unpublished events to the log.

    It publishes nothing more once the log holds other events than the ledger: with the sequence numbers of new events,
    clients would receive some events twice or miss some.
    """

    state: ResponseState
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def publish(self) -> None:
        """Publish all unpublished events.

        A failure is harmless: the next writer finds the log short, and restores it from the trace.
        """
        async with self._one_at_a_time:
            while not self.state.has_diverged and (taken := self.state.output_ledger.take()) is not None:
                result = await self._published(taken)
                if result is None or result.outcome != "diverged":
                    return
                if not self.state.output_ledger.drop_progress(taken, result.there):
                    workflow.logger.error("the log holds events that this workflow did not publish")
                    self._give_up()
                    return

    def _give_up(self) -> None:
        """End the response at once. `finish` uses the events of the log, since clients have been sent those."""
        if not patched("a-diverged-stream-ends"):
            return
        self.state.has_diverged = True
        self.state.end_with(Ending(status="failed", error_code="stream_diverged", error_message=_DIVERGED))

    async def _published(self, taken: Unpublished) -> PublishResult | None:
        """Append one batch of events. Returns None if Redis did not answer."""
        state = self.state
        call = PublishInput(
            response_id=state.start.response_id,
            initial=state.start.initial(),
            epoch=state.next_epoch(),
            first_sequence=taken.first_sequence,
            events=taken.events,
            items=taken.items,
        )
        try:
            result = await calls.publish(call)
            if result.outcome == "log_lost":
                known = {"output": state.output_ledger.output, "trace": state.output_ledger.trace[: taken.first_op]}
                result = await calls.publish(call.model_copy(update=known))
            if result.outcome == "ended":
                state.end_with(Ending(status="cancelled"))
            return result
        except calls.LOCAL_FAILED:
            workflow.logger.warning("published without Redis")
            return None
