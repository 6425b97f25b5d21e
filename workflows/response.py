"""The workflow of one response, from request to terminal event: sample, run tools, sample again, finish.

The workflow decides; activities do the I/O.

A change here, or in a module that this one uses, must replay the histories under `tests/durability/histories`, or
running responses break at the next deploy.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.error_advice import with_advice
    from open_responses.loop.next_step import BROKE_OFF, Step, Stop, next_step
    from open_responses.loop.output_ledger import PROGRESS
    from open_responses.loop.payloads.approvals import ApprovalAnswer
    from open_responses.loop.payloads.ending import Ending
    from open_responses.loop.payloads.finish import FinishedResponse, Progress
    from open_responses.loop.payloads.names import WORKFLOW
    from open_responses.loop.payloads.sample import ProviderTrouble, SampleResult
    from open_responses.loop.payloads.start import StartResponse
    from open_responses.loop.payloads.steering import Steer
    from open_responses.loop.payloads.tool_calls import ToolProgress
    from open_responses.loop.payloads.usage import usage_with
    from workflows import ends
    from workflows.agents import Agents
    from workflows.announcements import announce_end
    from workflows.before_first_turn import BeforeFirstTurn
    from workflows.closing import Closing
    from workflows.failures import failure
    from workflows.live_approvals import LiveApprovals
    from workflows.model_turn import ModelTurn
    from workflows.parallel_calls import Asks, ToolCalls
    from workflows.patches import patched
    from workflows.publication import Publication
    from workflows.state import ResponseState
    from workflows.steering import Steering
    from workflows.tasks import current_task, next_task
    from workflows.waiting import Waiting


# A program waits for the client's next request.
_WAITS = Ending(status="completed")


@workflow.defn(name=WORKFLOW)
class ResponseWorkflow:
    """The durable loop of one response. The workflow's id is the response's id."""

    @workflow.init
    def __init__(self, start: StartResponse) -> None:
        self.patch_level = start.patch_level
        self._is_fresh = start.carried is None
        self._state = ResponseState.of(start)
        self._hosted = frozenset(tool.name for tool in start.hosted)
        self._publication = Publication(self._state)
        self._waiting = Waiting(self._state, self._publication)
        asks, agents = Asks(), Agents(self._state, self._publication)
        self._calls = ToolCalls(self._state, self._publication, self._waiting, agents, asks)
        self._approvals = LiveApprovals(self._state, self._publication, self._calls)
        asks.decide = self._approvals.decide
        self._steering = Steering(self._state, self._publication, self._waiting)
        self._ending: Ending | None = None
        self._state.show("queued")

    @workflow.run
    async def run(self, start: StartResponse) -> FinishedResponse:
        """Run the response to its end, also when Temporal cancels the workflow ("Request Cancellation" in the UI).

        Temporal's cancellation is raised in this task alone. The response runs in a task of its own, so that `end_with`
        stops it, as for the `cancel` signal, and its closing is never cut off.
        """
        responding = asyncio.create_task(self._respond())
        while not responding.done():
            try:
                await workflow.wait([responding])
            except asyncio.CancelledError:
                self._state.end_with(Ending(status="cancelled"))
        finished = responding.result()
        if finished is None:
            # Not in the task: a cancellation that arrives at the same moment is handed over as well.
            # The new run has no history to replay: with Worker Versioning, it may begin on the current version.
            workflow.continue_as_new(
                self._state.handed_over(),
                initial_versioning_behavior=workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE,
            )
        return ends.end_alike(start, finished) if start.ends_alike else finished

    async def _respond(self) -> FinishedResponse | None:
        """Run the response to its end. Returns None if history is so long that a new run has to go on."""
        deadline = self._watch_deadline()
        ending = await self._looped()
        if ending is None:
            return None
        self._steering.close()
        if deadline is not None:
            deadline.cancel()
        self._ending = ending
        ends_alike = self._state.start.ends_alike
        if ends_alike and ending.status == "cancelled":
            await ends.be_cancelled()
        ended_at = await self._decided(ending) if self._state.start.repeats_alike else None
        await workflow.wait_condition(workflow.all_handlers_finished)
        finished = await Closing(self._state, self._publication).run(ending, ended_at)
        await announce_end(self._state.start, finished.response)
        if ends_alike:
            if finished.response["status"] == "cancelled":
                # Clients were sent a cancellation that this run did not decide, for instance because an operator has
                # reset the run.
                await ends.be_cancelled(is_announced=True)
            await ends.keep(finished)
        return finished

    # --- signals, updates and queries

    @workflow.signal
    def cancel(self) -> None:
        """Stop as soon as possible and end in `cancelled`. Does nothing once the answer is complete."""
        self._state.end_with(Ending(status="cancelled"))

    @workflow.signal
    async def tool_progress(self, progress: ToolProgress) -> None:
        """Publish a running tool's progress message to the stream."""
        index, output_ledger = progress.output_index, self._state.output_ledger
        is_late = self._state.start.repeats_alike and self._state.is_stopping()
        if (
            not is_late
            and 0 <= index < len(output_ledger.output)
            and output_ledger.output[index].get("status") == "in_progress"
        ):
            output_ledger.add_event(PROGRESS, index, message=progress.message)
            await self._publication.publish()

    @workflow.signal
    def provider_trouble(self, trouble: ProviderTrouble) -> None:
        """Show an operator that the running sample waits for its provider, or that the provider answers again."""
        if trouble.epoch == self._state.sampled_epoch:
            self._state.note_trouble(trouble)

    @workflow.update
    async def answer_approval(self, answer: ApprovalAnswer) -> None:
        """Accept a person's decision about a call that waits for approval."""
        await self._approvals.answer(answer)

    @answer_approval.validator
    def _check_answer(self, answer: ApprovalAnswer) -> None:
        self._approvals.check(answer)

    @workflow.update
    async def steer(self, steer: Steer) -> None:
        """Accept messages of the user, which the next model turn reads."""
        await self._steering.accept(steer)

    @steer.validator
    def _check_steer(self, steer: Steer) -> None:
        self._steering.check(steer)

    @workflow.query
    def progress(self) -> Progress:
        """The state, the output and the trace of the stream, from which a log that Redis has lost is restored."""
        state = self._state
        return Progress(
            start=state.start,
            status=self._ending.status if self._ending else "in_progress",
            output=state.output_ledger.output,
            trace=state.output_ledger.trace,
            turn=state.turn,
            usage=usage_with(state.usage, state.paid),
        )

    # --- the loop

    async def _looped(self) -> Ending | None:
        """Run the loop, and turn every error into an ending.

        Temporal would repeat a task that raises without end, and the client would wait as long. NondeterminismError is
        raised again, because the deploy that causes it has to be rolled back.
        """
        try:
            return await self._loop()
        except workflow.NondeterminismError:
            raise
        except ActivityError as error:
            ending = self._state.stop or failure(error)
        except Exception as error:  # noqa: BLE001 - the workflow's border
            workflow.logger.exception("the loop crashed")
            ending = Ending(
                status="failed",
                error_message=with_advice("server_error", f"The response failed unexpectedly: {type(error).__name__}."),
            )
        # This stops the tool calls that still run beside the loop.
        self._state.stop = ending
        return ending

    async def _loop(self) -> Ending | None:
        """Alternate model turns and tool calls until the response ends. Returns None if a new run has to continue
        it."""
        if self._is_fresh:
            await BeforeFirstTurn(self._state, self._publication, self._calls).run()
            if self._state.start.programs:
                await self._close_if_stopped()
                if self._has_suspended(Step()):
                    return None
                if self._state.waits_for_client and self._state.stop is None:
                    await self._steering.take_up()
                    return _WAITS
        elif self._state.suspended:
            ending, goes_on = await self._go_on_with_programs()
            if goes_on:
                if ending is not None and ending.status == "completed":
                    await self._steering.take_up()
                return ending
        while True:
            ending = self._limit()
            if ending is not None:
                return ending
            if await self._is_too_long():
                return None
            await self._steering.take_up()
            self._state.turn += 1
            try:
                result = await ModelTurn(self._state, workflow.now()).sample()
            except ActivityError as error:
                return failure(error)
            if result is None:
                return self._state.stop or Ending(status="cancelled")
            step = self._step_after(result)
            await self._act(step)
            if self._has_suspended(step):
                return None
            if self._state.waits_for_client and self._state.stop is None:
                step = replace(step, stop=Stop("completed"), waits_for_client=True)
            if await self._steering.goes_on(step):
                continue
            if step.stop is not None and (self._stands(result, step) or self._state.stop is None):
                return Ending(status=step.stop.status, incomplete_reason=step.stop.incomplete_reason)

    async def _go_on_with_programs(self) -> tuple[Ending | None, bool]:
        """Run the programs on that the run before handed over.

        Returns the ending and True if the response ends, None and True if yet another run has to go on with them, and
        None and False if a model turn follows.
        """
        suspended, self._state.suspended = self._state.suspended, []
        await self._calls.go_on(suspended)
        await self._close_if_stopped()
        if self._state.suspended and self._state.stop is None:
            return None, True
        then, self._state.then = self._state.then, None
        if self._state.waits_for_client:
            then = _WAITS
        return then, then is not None and self._state.stop is None

    def _has_suspended(self, step: Step) -> bool:
        """Whether a new run of the workflow has to go on with programs of this turn."""
        if not self._state.suspended or self._state.stop is not None:
            return False
        if step.stop is not None:
            self._state.then = Ending(status=step.stop.status, incomplete_reason=step.stop.incomplete_reason)
        elif self._state.waits_for_client:
            self._state.then = _WAITS
        return True

    def _stands(self, result: SampleResult, step: Step) -> bool:
        """Whether the answer ends the response by itself, even if a stop arrived in the same workflow task."""
        if not self._state.start.repeats_alike or step.calls:
            return False
        self._state.answered_at = result.ended_at
        return result.ended_at is not None

    async def _decided(self, ending: Ending) -> int:
        """Wait until a repeated task must decide the same ending. Returns the time at which the response ended, in Unix
        seconds."""
        state = self._state
        if state.answered_at is not None:
            return int(state.answered_at)
        ended_at, decided_in = workflow.now().timestamp(), current_task()
        if ending is state.stop and state.stopped_at is not None:
            ended_at, decided_in = state.stopped_at, state.stopped_in
        if decided_in == current_task():
            await next_task()
        return int(ended_at)

    def _limit(self) -> Ending | None:
        """Return the ending that a limit causes between two model turns, or None."""
        state = self._state
        if state.stop is not None:
            return state.stop
        if state.turn >= state.start.max_turns:
            return Ending(status="incomplete", incomplete_reason="max_turns")
        if state.turn and state.tokens_left() == 0:
            return Ending(status="incomplete", incomplete_reason="max_output_tokens")
        return None

    def _step_after(self, result: SampleResult) -> Step:
        first_index = len(self._state.output_ledger.output)
        self._state.take(result)
        waits = self._state.start.request.is_background
        step = next_step(result, first_index, self._hosted, waits_for_approval=waits)
        if result.finish_reason in BROKE_OFF and (step.calls or step.unanswered):
            return _as_it_began(step)
        return step

    async def _act(self, step: Step) -> None:
        """Run the model turn's calls side by side, together with the calls that a person approves meanwhile."""
        if step.calls:
            self._state.choice_spent = True
        if step.approvals:
            await asyncio.gather(self._calls.run(step.calls), self._approvals.run(step.approvals))
        elif step.calls:
            await self._calls.run(step.calls)
        await self._close_if_stopped()

    async def _close_if_stopped(self) -> None:
        if self._state.stop is not None:
            self._state.output_ledger.close_open_items()
            await self._publication.publish()

    # --- how long it may run

    def _watch_deadline(self) -> asyncio.Task[None] | None:
        seconds = self._state.start.deadline_seconds
        if seconds is None:
            return None
        return asyncio.create_task(self._stop_after(self._state.started_at + seconds - workflow.now().timestamp()))

    async def _stop_after(self, seconds: float) -> None:
        if seconds > 0:
            await workflow.sleep(timedelta(seconds=seconds), summary="deadline")
        self._state.end_with(Ending(status="incomplete", incomplete_reason="deadline_exceeded"))

    async def _is_too_long(self) -> bool:
        """Whether a new run has to take over before history reaches its limits; readers of the log do not notice it."""
        if self._state.turn == 0 or not workflow.info().is_continue_as_new_suggested():
            return False
        await workflow.wait_condition(workflow.all_handlers_finished)
        return True


def _as_it_began(step: Step) -> Step:
    """Return the step after a model turn that was cut off after calls, for runs that earlier versions began.

    The first version answered none of the calls, the second one all.
    """
    if patched("no-output-behind-what-was-cut-off"):
        return step
    if patched("calls-of-a-broken-turn"):
        return replace(step, calls=sorted([*step.calls, *step.unanswered], key=lambda call: call.index))
    return Step(stop=step.stop)
