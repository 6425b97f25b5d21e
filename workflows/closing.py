"""Ends a response: adds its items to its conversation, stores it, and publishes the terminal event.

In this order, so that a client that has received the terminal event finds the items in the conversation.
"""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from open_responses.conversations.payloads import RESPONSE_ENDED
    from open_responses.conversations.state import end_of_response
    from open_responses.events.trace import Op
    from open_responses.json_types import JsonObject
    from open_responses.loop.end_line import END, LOG_FIELDS, end_fields, how_far
    from open_responses.loop.payloads.ending import Ending
    from open_responses.loop.payloads.finish import FinishedResponse, FinishInput, FinishResult, final_resource
    from open_responses.loop.payloads.usage import TurnUsage, usage_with
    from workflows import calls, search_attributes
    from workflows.patches import patched
    from workflows.publication import Publication
    from workflows.state import ResponseState
    from workflows.tasks import next_task
    from workflows.usage_memo import remember_usage


@dataclass(frozen=True, slots=True)
class Closing:
    """Runs once per response, when no handler of a signal or an update runs any more."""

    state: ResponseState
    publication: Publication

    async def run(self, ending: Ending, ended_at: int | None = None) -> FinishedResponse:
        """End the response. Returns the workflow's result, which is valid even if Redis does not answer.

        `ended_at` is in Unix seconds; None stands for now.
        """
        state, output_ledger = self.state, self.state.output_ledger
        was_cut_off = state.cut_off
        if was_cut_off and state.start.repeats_alike and patched("cut-off-items-before-the-end"):
            await self._close_cut_off_sample(ending)
        if not state.cut_off:
            output_ledger.close_open_items()
            await self.publication.publish()
        # The items of a sample that was cut off are known only after the log was read.
        is_known = not state.cut_off or ending.status != "incomplete"
        if is_known:
            await self._release_conversation(ending)
        if ended_at is None:
            ended_at = int(workflow.now().timestamp())
        result = await self._finish(ending, ended_at, was_cut_off)
        if result.announced is not None:
            # Clients were sent another end than the one that this task decided.
            return self._shown(result.announced, result.trace, result.usage or usage_with(state.usage, result.paid))
        output_ledger.absorb(result.items, result.trace)
        if not is_known:
            await self._release_conversation(ending)
        usage = usage_with(state.usage, result.paid)
        response = final_resource(
            state.start,
            ending,
            output_ledger.output,
            usage,
            ended_at,
            fallback=state.fallback,
            reported=state.reported,
            agents=state.agents_usage,
        )
        return self._shown(response, output_ledger.trace, usage)

    def _shown(self, response: JsonObject, trace: list[Op], usage: TurnUsage | None) -> FinishedResponse:
        """Show the end in the search attributes, the details and the memo of the run, and return the workflow's
        result."""
        search_attributes.show_end(self.state.start, response, usage)
        self.state.show(response["status"])
        remember_usage(self.state.start, response["status"], usage)
        return FinishedResponse(response=response, trace=trace, usage=usage, agents=self.state.agents_usage)

    async def _close_cut_off_sample(self, ending: Ending) -> None:
        """Bring the items of a sample that was cut off from the log into history, before the end is announced.

        Redis may lose the log in between. If this fails, `finish` reads the log itself.
        """
        state = self.state
        try:
            left = await calls.close_cut_off_sample(self._call(ending, int(workflow.now().timestamp())))
        except calls.LOCAL_FAILED:
            workflow.logger.warning("a sample was cut off, and Redis is away")
            return
        if left is None:
            return
        state.output_ledger.absorb(left.items, left.trace)
        state.paid, state.cut_off = left.paid, False
        await next_task()

    async def _finish(self, ending: Ending, ended_at: int, was_cut_off: bool) -> FinishResult:
        call = self._call(ending, ended_at).model_copy(update={"was_cut_off": was_cut_off})
        try:
            return await calls.finish(call)
        except calls.LOCAL_FAILED:
            # Redis does not answer. Readers use the workflow's result instead.
            self.log_end(call)
            return FinishResult(paid=call.paid)

    @staticmethod
    def log_end(call: FinishInput) -> None:
        """Write the log line that `finish` would have written."""
        usage = usage_with(call.usage, call.paid)
        response = final_resource(
            call.start,
            call.ending,
            call.output,
            usage,
            call.ended_at,
            fallback=call.fallback,
            reported=call.reported,
            agents=call.agents,
        )
        end = end_fields(call.start, response, usage, now=workflow.now().timestamp())
        fields = {**end, **how_far(call), "without_redis": True}
        workflow.logger.warning(END, extra={LOG_FIELDS: fields})

    def _call(self, ending: Ending, ended_at: int) -> FinishInput:
        state = self.state
        return FinishInput(
            start=state.start,
            epoch=state.next_epoch(),
            ending=ending,
            output=state.output_ledger.output,
            trace=state.output_ledger.trace,
            cut_off=state.cut_off,
            has_diverged=state.has_diverged,
            usage=state.usage,
            ended_at=ended_at,
            turn=state.turn,
            paid=state.paid,
            attempts=state.attempts,
            provider=state.target.provider,
            first_token_at=state.first_token_at,
            fallback=state.fallback,
            reported=state.reported,
            agents=state.agents_usage,
        )

    async def _release_conversation(self, ending: Ending) -> None:
        """Send the response's items to its conversation, and release the conversation for the next response."""
        start = self.state.start
        conversation_id = start.request.conversation_id
        if conversation_id is None or not patched("conversations"):
            return
        conversation = workflow.get_external_workflow_handle(conversation_id)
        try:
            await conversation.signal(
                RESPONSE_ENDED, end_of_response(start, ending.status, self.state.output_ledger.output)
            )
        except FailureError:
            workflow.logger.info("the conversation was deleted meanwhile")
