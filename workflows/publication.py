"""The workflow's own events on their way into the log, one publication at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.output_ledger import Unpublished
    from open_responses.loop.payloads import Ending, PublishInput, PublishResult
    from workflows import calls
    from workflows.state import ResponseState


_DIVERGED = (
    "A repeated step of this response came to other events than its stream had shown already. The output is what the "
    "stream has shown."
)


@dataclass(frozen=True, slots=True)
class Publication:
    """Brings into the log what the ledger has and the log has not. Nothing, once the log holds events of another order:
    the numbers of this workflow's own would repeat events to clients, or leave some out."""

    state: ResponseState
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def publish(self) -> None:
        """A failure is no harm: the events are in the trace; the next writer finds the log short, and restores it."""
        async with self._one_at_a_time:
            while not self.state.has_diverged and (taken := self.state.ledger.take()) is not None:
                result = await self._published(taken)
                if result is None or result.outcome != "diverged":
                    return
                if not self.state.ledger.drop_progress(taken, result.there):
                    workflow.logger.error("the log holds events that this workflow did not publish")
                    self._give_up()
                    return

    def _give_up(self) -> None:
        """The response ends at once, and `finish` adopts the log: clients have been sent what is there."""
        if not workflow.patched("a-diverged-stream-ends"):
            return
        self.state.has_diverged = True
        self.state.end_with(Ending(status="failed", error_code="stream_diverged", error_message=_DIVERGED))

    async def _published(self, taken: Unpublished) -> PublishResult | None:
        """None where Redis stayed away."""
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
                known = {"output": state.ledger.output, "trace": state.ledger.trace[: taken.first_op]}
                result = await calls.publish(call.model_copy(update=known))
            if result.outcome == "ended":
                state.end_with(Ending(status="cancelled"))
            return result
        except ActivityError:
            workflow.logger.warning("published without Redis")
            return None
