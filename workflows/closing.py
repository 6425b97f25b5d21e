"""The end of a response: stored and announced, and told to its conversation before anybody hears of it."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from open_responses.conversations.state import END_TURN, end_of_turn
    from open_responses.events.trace import Op
    from open_responses.json_types import JsonObject
    from open_responses.loop.payloads import (
        Ending,
        FinishedResponse,
        FinishInput,
        FinishResult,
        final_resource,
        usage_with,
    )
    from workflows import calls
    from workflows.publication import Publication
    from workflows.state import ResponseState
    from workflows.tasks import next_task

_STATUS = SearchAttributeKey.for_keyword("OpenResponsesStatus")


@dataclass(frozen=True, slots=True)
class Closing:
    """Comes once, when no handler runs any more."""

    state: ResponseState
    publication: Publication

    async def run(self, ending: Ending, ended_at: int | None = None) -> FinishedResponse:
        """The workflow's result: the truth, also where Redis stays away. `ended_at` is in Unix seconds; None: now."""
        state, ledger = self.state, self.state.ledger
        was_cut_off = state.cut_off
        if was_cut_off and state.start.repeats_alike and workflow.patched("cut-off-items-before-the-end"):
            await self._close_cut_off_sample(ending)
        if not state.cut_off:
            ledger.close_open_items()
            await self.publication.publish()
        # Items of a sample that was cut off are only known when the log has been read.
        is_known = not state.cut_off or ending.status != "incomplete"
        if is_known:
            await self._end_turn(ending)
        if ended_at is None:
            ended_at = int(workflow.now().timestamp())
        result = await self._finish(ending, ended_at, was_cut_off)
        if result.announced is not None:
            return self._as_announced(result.announced, result.trace)
        ledger.absorb(result.items, result.trace)
        if not is_known:
            await self._end_turn(ending)
        workflow.upsert_search_attributes([_STATUS.value_set(ending.status)])
        state.show(ending.status)
        usage = usage_with(state.usage, result.paid)
        return FinishedResponse(
            response=final_resource(state.start, ending, ledger.output, usage, ended_at), trace=ledger.trace
        )

    def _as_announced(self, response: JsonObject, trace: list[Op]) -> FinishedResponse:
        """The end that clients were sent, where it is another one than this task came to."""
        workflow.upsert_search_attributes([_STATUS.value_set(response["status"])])
        self.state.show(response["status"])
        return FinishedResponse(response=response, trace=trace)

    async def _close_cut_off_sample(self, ending: Ending) -> None:
        """Take what the sample left in the log into history, before its end is announced: Redis may lose the log in
        between. Where that fails, `finish` reads the log itself."""
        state = self.state
        try:
            left = await calls.close_cut_off_sample(self._call(ending, int(workflow.now().timestamp())))
        except ActivityError:
            workflow.logger.warning("a sample was cut off, and Redis is away")
            return
        if left is None:
            return
        state.ledger.absorb(left.items, left.trace)
        state.paid, state.cut_off = left.paid, False
        await next_task()

    async def _finish(self, ending: Ending, ended_at: int, was_cut_off: bool) -> FinishResult:
        call = self._call(ending, ended_at).model_copy(update={"was_cut_off": was_cut_off})
        try:
            return await calls.finish(call)
        except ActivityError:
            # Redis stayed away. The workflow's result is the truth, and readers fall back to it.
            workflow.logger.warning("finished without Redis")
            return FinishResult(paid=call.paid)

    def _call(self, ending: Ending, ended_at: int) -> FinishInput:
        state = self.state
        return FinishInput(
            start=state.start,
            epoch=state.next_epoch(),
            ending=ending,
            output=state.ledger.output,
            trace=state.ledger.trace,
            cut_off=state.cut_off,
            has_diverged=state.has_diverged,
            usage=state.usage,
            ended_at=ended_at,
            turn=state.turn,
            paid=state.paid,
        )

    async def _end_turn(self, ending: Ending) -> None:
        """Tell the conversation, before anybody hears of the end: whoever does finds the items there."""
        start = self.state.start
        conversation_id = start.request.conversation_id
        if conversation_id is None or not workflow.patched("conversations"):
            return
        conversation = workflow.get_external_workflow_handle(conversation_id)
        try:
            await conversation.signal(END_TURN, end_of_turn(start, ending.status, self.state.ledger.output))
        except FailureError:
            workflow.logger.info("the conversation was deleted meanwhile")
