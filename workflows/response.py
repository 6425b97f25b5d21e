"""One response, from request to terminal event: sample, run tools, sample again, finish. It decides; activities do.

A change here must replay the histories under `tests/histories`, or running responses break at the next deploy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    FailureError,
    TimeoutError,
    TimeoutType,
)

with workflow.unsafe.imports_passed_through():
    from open_responses.conversations import END_TURN, end_of_turn
    from open_responses.ids import member_id
    from open_responses.json_types import JsonObject
    from open_responses.ledger import Ledger
    from open_responses.next_step import BROKE_OFF, Call, Step, call_of, next_step
    from open_responses.offer import HOSTED_LABEL
    from open_responses.payloads import (
        WORKFLOW,
        ApprovalAnswer,
        Carried,
        ClaimInput,
        Decision,
        Ending,
        FinishedResponse,
        FinishInput,
        FinishResult,
        McpListInput,
        McpListResult,
        Progress,
        PublishInput,
        SampleInput,
        SampleResult,
        StartResponse,
        ToolProgress,
        TurnUsage,
        final_resource,
    )
    from open_responses.tool_items import function_call, function_call_output, mcp_call, mcp_list_tools
    from open_responses.tools import McpTool
    from open_responses.transcript import denial
    from workflows import calls
    from workflows.tool_run import Outcome, ToolRun, until_stopped

_STATUS = SearchAttributeKey.for_keyword("OpenResponsesStatus")
# A turn that broke this often makes no headway, even if each try streamed something.
_MAX_TRIES_PER_TURN = 100
# A stream that breaks in its middle goes on at once; where another provider waits, not for ever.
_BREAKS_BEFORE_FALLBACK = 3
_BREAKS_AT_ONCE = 5
_LONGEST_PAUSE_SECONDS = 30.0


@workflow.defn(name=WORKFLOW)
class ResponseWorkflow:
    """The durable loop. Workflow id = response id."""

    @workflow.init
    def __init__(self, start: StartResponse) -> None:
        carried = start.carried
        self._start = start.model_copy(update={"carried": None})
        self._hosted = frozenset(tool.name for tool in start.hosted)
        self._is_fresh = carried is None
        self._epoch = carried.epoch if carried else 0
        self._turn = carried.turn if carried else 0
        self._ledger = Ledger(carried.output, carried.trace) if carried else Ledger()
        self._usage = carried.usage if carried else None
        self._tool_calls = carried.tool_calls if carried else 0
        self._choice_spent = carried.choice_spent if carried else False
        self._targets = start.targets
        self._fallback = carried.fallback if carried else 0
        self._started_at = carried.started_at if carried else workflow.now().timestamp()
        self._cut_off = False
        self._ending: Ending | None = None
        self._stop: Ending | None = _carried_stop(carried)
        self._publishing = asyncio.Lock()
        self._waiting: dict[str, int] = {}
        self._answers: dict[str, ApprovalAnswer] = {}
        self._show("queued")

    @workflow.run
    async def run(self, start: StartResponse) -> FinishedResponse:
        deadline = self._watch_deadline()
        ending = await self._looped()
        if deadline is not None:
            deadline.cancel()
        self._ending = ending
        await workflow.wait_condition(workflow.all_handlers_finished)
        return await self._finish(ending)

    @workflow.signal
    def cancel(self) -> None:
        """Stop as soon as possible and end in `cancelled`. Does nothing once the answer stands."""
        self._stop = self._stop or Ending(status="cancelled")

    @workflow.signal
    async def tool_progress(self, progress: ToolProgress) -> None:
        """A running tool's word, for whoever watches the stream."""
        index = progress.output_index
        if index < len(self._ledger.output) and self._ledger.output[index].get("status") == "in_progress":
            self._ledger.tell("open_responses:tool_progress", index, message=progress.message)
            await self._publish()

    @workflow.update
    def answer_approval(self, answer: ApprovalAnswer) -> None:
        """A person's word on a call that waits here."""
        self._answers[answer.approval_request_id] = answer

    @answer_approval.validator
    def _check_answer(self, answer: ApprovalAnswer) -> None:
        if self._is_answered(answer.approval_request_id):
            raise ApplicationError("this approval was answered already", type="approval_already_answered")
        if answer.approval_request_id not in self._waiting:
            raise ApplicationError("no call waits for this approval", type="approval_not_found")

    def _is_answered(self, approval_request_id: str) -> bool:
        """Now, or in an earlier run of this workflow: an answer leaves a call in the output, yes or no."""
        return approval_request_id in self._answers or any(
            item.get("approval_request_id") == approval_request_id for item in self._ledger.output
        )

    @workflow.query
    def progress(self) -> Progress:
        """State, finished items and the shape of the stream: what Redis may have lost."""
        return Progress(
            start=self._start,
            status=self._ending.status if self._ending else "in_progress",
            output=self._ledger.output,
            trace=self._ledger.trace,
            turn=self._turn,
        )

    async def _looped(self) -> Ending:
        """The loop's end, whatever happens. Temporal would try a task that raises again for ever, and the client would
        wait as long. Not for what replay finds: that is a deploy to be taken back."""
        try:
            return await self._loop()
        except workflow.NondeterminismError:
            raise
        except ActivityError as error:
            self._stop = self._stop or _failure(error)
        except Exception as error:  # noqa: BLE001 - the workflow's border
            workflow.logger.exception("the loop crashed")
            self._stop = Ending(status="failed", error_message=f"The loop failed unexpectedly: {type(error).__name__}.")
        return self._stop

    async def _loop(self) -> Ending:
        if self._is_fresh:
            await self._before_first_turn()
        while True:
            ending = self._limit()
            if ending is not None:
                return ending
            await self._carry_on_if_long()
            self._turn += 1
            try:
                result = await self._sample_turn()
            except ActivityError as error:
                return _failure(error)
            if result is None:
                return self._stop or Ending(status="cancelled")
            first_index = len(self._ledger.output)
            self._take(result)
            step = next_step(result, first_index, self._hosted, waits_for_approval=self._start.request.is_background)
            if step.calls and result.finish_reason in BROKE_OFF and not workflow.patched("calls-of-a-broken-turn"):
                step = Step(stop=step.stop)
            await self._act(step)
            if step.stop is not None and self._stop is None:
                return Ending(status=step.stop.status, incomplete_reason=step.stop.incomplete_reason)

    def _limit(self) -> Ending | None:
        """What ends the loop between two turns."""
        if self._stop is not None:
            return self._stop
        if self._turn >= self._start.max_turns:
            return Ending(status="incomplete", incomplete_reason="max_turns")
        if self._turn and self._tokens_left() == 0:
            return Ending(status="incomplete", incomplete_reason="max_output_tokens")
        return None

    def _watch_deadline(self) -> asyncio.Task[None] | None:
        if self._start.deadline_seconds is None:
            return None
        left = self._started_at + self._start.deadline_seconds - workflow.now().timestamp()
        return asyncio.create_task(self._stop_after(left))

    async def _stop_after(self, seconds: float) -> None:
        if seconds > 0:
            await workflow.sleep(timedelta(seconds=seconds), summary="deadline")
        self._stop = self._stop or Ending(status="incomplete", incomplete_reason="deadline_exceeded")

    async def _carry_on_if_long(self) -> None:
        """Before history reaches its limits, a new run takes over; the log and its readers do not notice."""
        if self._turn == 0 or not workflow.info().is_continue_as_new_suggested():
            return
        await workflow.wait_condition(workflow.all_handlers_finished)
        carried = Carried(
            epoch=self._epoch,
            turn=self._turn,
            output=self._ledger.output,
            trace=self._ledger.trace,
            usage=self._usage,
            tool_calls=self._tool_calls,
            choice_spent=self._choice_spent,
            fallback=self._fallback,
            started_at=self._started_at,
            stop=self._stop,
        )
        workflow.continue_as_new(self._start.model_copy(update={"carried": carried}))

    # --- before the first turn

    async def _before_first_turn(self) -> None:
        """Lists of MCP servers, and calls that a person has approved."""
        servers = [tool for tool in self._start.request.tools or [] if isinstance(tool, McpTool)]
        if not servers and not self._start.decisions:
            return
        self._ledger.open_stream(self._start.initial())
        await self._publish()
        decisions = await self._claimed()
        if servers:
            self._show("listing the tools of MCP servers")
            await asyncio.gather(*(self._list_tools(server.server_label) for server in servers))
        approved = [self._add_approved(decision) for decision in decisions if decision.approve]
        await self._run_calls(approved)

    async def _claimed(self) -> list[Decision]:
        """The approvals that this response brings and that no other has acted on. With none left, it has nothing to do
        here. Two requests with the same one meet before the start as a rule, and one of them is refused."""
        brought = self._start.decisions
        if not brought or not workflow.patched("claims-at-the-start"):
            return brought
        result = await calls.claim_approvals(ClaimInput(response_id=self._start.response_id, decisions=brought))
        mine = [decision for decision in brought if decision.approval_request_id not in result.refused]
        if not mine:
            self._stop = self._stop or Ending(
                status="failed",
                error_code="approval_already_answered",
                error_message="Another response has acted on this approval.",
            )
        return mine

    async def _list_tools(self, label: str) -> None:
        result = await self._listed(label)
        if result is None or result.known:
            return
        index = self._ledger.add(mcp_list_tools(self._start.response_id, len(self._ledger.output), label))
        self._ledger.tell("response.mcp_list_tools.in_progress", index)
        if result.error is None:
            self._ledger.tell("response.mcp_list_tools.completed", index)
            self._ledger.settle(index, tools=result.tools, status="completed")
        else:
            self._ledger.tell("response.mcp_list_tools.failed", index)
            self._ledger.settle(index, error=result.error, status="failed")
        await self._publish()

    async def _listed(self, label: str) -> McpListResult | None:
        """What the server says; a worker that died in between is asked again. None when the response was stopped."""
        call = McpListInput(response_id=self._start.response_id, tenant=self._start.tenant, server_label=label)
        for _ in range(_MAX_TRIES_PER_TURN):
            handle = calls.start_mcp_list(call)
            try:
                result = await until_stopped(handle, self._is_stopping)
            except ActivityError:
                return McpListResult(outcome="failed", error="The server did not list its tools in time.")
            if result is None or result.outcome in ("done", "failed"):
                return result
        return McpListResult(outcome="failed", error="The worker was lost each time.")

    def _add_approved(self, decision: Decision) -> Call:
        """The approved call as an item, and as what is to be run: name and arguments are the stored ones."""
        index, response_id = len(self._ledger.output), self._start.response_id
        if decision.server_label == HOSTED_LABEL:
            item = function_call(response_id, index, decision.name, decision.arguments)
        else:
            item = mcp_call(
                member_id("mcp_", response_id, index), decision.server_label, decision.name, decision.arguments
            )
        item["approval_request_id"] = decision.approval_request_id
        return self._add_call(item)

    def _add_call(self, item: JsonObject) -> Call:
        index = self._ledger.add_whole_call(item)
        if item["type"] == "mcp_call":
            return call_of("mcp", index, item["name"], item["arguments"], item["id"], item["server_label"])
        self._ledger.settle(index)
        return call_of("hosted", index, item["name"], item["arguments"], item["call_id"])

    # --- one turn of the model

    def _take(self, result: SampleResult) -> None:
        self._ledger.absorb(result.items, result.trace)
        self._usage = result.usage if self._usage is None else self._usage.plus(result.usage)

    async def _sample_turn(self) -> SampleResult | None:
        """One turn that stands, however many tries it takes; None when the response was stopped.

        A try that ended early is scheduled again at once, under the next epoch: Temporal's own retry would wait a
        second, and its timer is for providers that asked for patience.
        """
        lost: str | None = None
        began, breaks, fell_back = workflow.now(), 0, False
        for tries in range(1, _MAX_TRIES_PER_TURN + 1):
            try:
                result = await self._try_sample(tries, lost, fell_back)
            except ActivityError as error:
                if not self._may_fall_back or not _provider_is_down(error):
                    raise
                lost, breaks, fell_back = self._fall_back(_failure(error).error_message), 0, True
                continue
            if result is None or result.outcome == "cancelled":
                return None
            if result.outcome == "done":
                return result
            lost = result.reason or result.outcome
            fell_back = False
            if result.outcome != "broken":
                continue
            breaks += 1
            if breaks >= _BREAKS_BEFORE_FALLBACK and self._may_fall_back:
                lost, breaks, fell_back = self._fall_back(lost), 0, True
            elif breaks >= _BREAKS_AT_ONCE:
                if self._seconds_since(began) > self._start.retry_window:
                    break
                await self._pause(breaks)
        self._cut_off = True
        raise ActivityError(
            f"the provider's stream broke again and again; the last time: {lost}",
            scheduled_event_id=0,
            started_event_id=0,
            identity="",
            activity_type="sample",
            activity_id="",
            retry_state=None,
        )

    @staticmethod
    def _seconds_since(moment: datetime) -> float:
        return (workflow.now() - moment).total_seconds()

    async def _pause(self, breaks: int) -> None:
        """A provider that breaks its streams again and again gets time to recover."""
        seconds = min(_LONGEST_PAUSE_SECONDS, 2.0 ** (breaks - _BREAKS_AT_ONCE))
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(self._is_stopping, timeout=timedelta(seconds=seconds))

    async def _try_sample(self, tries: int, lost: str | None, fell_back: bool) -> SampleResult | None:
        self._epoch += 1
        self._show("sampling" if lost is None else f"sampling again ({lost})")
        if self._stop is not None:
            self._cut_off = True
            return None
        try:
            handle = calls.start_sample(self._sample_input(tries, lost, fell_back))
            result = await until_stopped(handle, self._is_stopping)
        except ActivityError as error:
            self._cut_off = True
            if isinstance(error.cause, CancelledError):
                return None
            raise
        self._cut_off = result is None or result.outcome == "cancelled"
        return result

    @property
    def _may_fall_back(self) -> bool:
        return self._fallback + 1 < len(self._targets)

    def _fall_back(self, reason: str) -> str:
        """Go on with the next provider, for the rest of the response."""
        self._fallback += 1
        self._cut_off = False
        return reason

    def _is_stopping(self) -> bool:
        return self._stop is not None

    def _sample_input(self, tries: int, lost: str | None, fell_back: bool) -> SampleInput:
        target = self._targets[self._fallback]
        return SampleInput(
            response_id=self._start.response_id,
            turn=self._turn,
            epoch=self._epoch,
            provider=target.provider,
            upstream_model=target.upstream_model,
            context_window=target.context_window,
            fallback=self._fallback,
            has_fallback=self._may_fall_back,
            fell_back=fell_back,
            used=self._usage or TurnUsage(),
            retry_window=self._start.retry_window,
            first_sequence=self._ledger.length,
            first_output_index=len(self._ledger.output),
            max_output_tokens=self._tokens_left(),
            choice_spent=self._choice_spent,
            tries=tries,
            lost=lost,
        )

    def _tokens_left(self) -> int | None:
        limit = self._start.request.max_output_tokens
        if limit is None:
            return None
        return max(0, limit - (self._usage.output_tokens if self._usage else 0))

    # --- what the turn asks for

    async def _act(self, step: Step) -> None:
        """Run the turn's calls side by side, and those that a person approves meanwhile."""
        if step.calls:
            self._choice_spent = True
        if step.approvals:
            await asyncio.gather(self._run_calls(step.calls), self._run_approved(step.approvals))
        elif step.calls:
            await self._run_calls(step.calls)
        if self._stop is not None:
            self._ledger.close_open_items()
            await self._publish()

    async def _run_calls(self, wanted: Sequence[Call]) -> None:
        """All outputs are announced in the model's order; each ends when its call does."""
        indexes = [self._announce(call) for call in wanted]
        allowed = [self._within_budget() for _ in wanted]
        if not wanted:
            return
        self._show("running " + ", ".join(sorted({call.name for call in wanted})))
        running = [
            asyncio.create_task(self._run_call(call, index, ok))
            for call, index, ok in zip(wanted, indexes, allowed, strict=True)
        ]
        await self._publish()
        await asyncio.gather(*running)

    def _announce(self, call: Call) -> int:
        """The item that will hold the result: the `mcp_call` itself, or a function's output."""
        if call.kind == "mcp":
            return call.index
        index = len(self._ledger.output)
        return self._ledger.add(function_call_output(self._start.response_id, index, call.call_id))

    def _within_budget(self) -> bool:
        limit = self._start.request.max_tool_calls
        self._tool_calls += 1
        return limit is None or self._tool_calls <= limit

    async def _run_call(self, call: Call, index: int, ok: bool) -> None:
        outcome: Outcome | None = Outcome(
            f"Not run: this response may make {self._start.request.max_tool_calls} tool calls, and has made them. "
            "Answer with what you have.",
            failed=True,
        )
        if ok:
            run = ToolRun(self._start, self._is_stopping)
            outcome = await run.run(call, index)
        if outcome is None:
            # The tool may hear of a cancellation before the signal comes here.
            self._stop = self._stop or Ending(status="cancelled")
            return
        if call.kind == "mcp":
            error = {"type": "mcp_tool_execution_error", "content": outcome.output} if outcome.failed else None
            text = None if outcome.failed else _as_text(outcome)
            self._ledger.settle_call(index, output=text, error=error)
        else:
            self._ledger.settle(index, output=outcome.output, status="completed")
        if outcome.ending is not None:
            self._stop = self._stop or outcome.ending
        await self._publish()

    async def _run_approved(self, approvals: Sequence[int]) -> None:
        """Wait for a person, at no cost, and run each call as soon as it is approved."""
        for index in approvals:
            self._waiting[self._ledger.output[index]["id"]] = index
        self._show("waiting for approval")
        await asyncio.gather(*(self._await_answer(index) for index in approvals))

    async def _await_answer(self, index: int) -> None:
        request = self._ledger.output[index]
        approval_id = request["id"]
        await workflow.wait_condition(lambda: approval_id in self._answers or self._stop is not None)
        del self._waiting[approval_id]
        answer = self._answers.get(approval_id)
        if answer is None:
            return
        decision = Decision(
            approval_request_id=approval_id,
            server_label=request["server_label"],
            name=request["name"],
            arguments=request["arguments"],
            approve=answer.approve,
            reason=answer.reason,
        )
        call = self._add_approved(decision)
        self._choice_spent = True
        if answer.approve:
            await self._run_calls([call])
        else:
            self._settle_denied(call, answer.reason)
            await self._publish()

    def _settle_denied(self, call: Call, reason: str | None) -> None:
        said = denial(reason)
        if call.kind == "mcp":
            self._ledger.settle_call(call.index, output=None, error={"type": "approval_denied", "content": said})
        else:
            self._ledger.settle(self._announce(call), output=said, status="completed")

    # --- the log, and the end

    async def _publish(self) -> None:
        """What the ledger has and the log has not, one publication at a time.

        A failure is no harm: the events are in the trace, and the next writer finds the log short and restores it.
        """
        async with self._publishing:
            taken = self._ledger.take()
            if taken is None:
                return
            self._epoch += 1
            call = PublishInput(
                response_id=self._start.response_id,
                initial=self._start.initial(),
                epoch=self._epoch,
                first_sequence=taken.first_sequence,
                events=taken.events,
                items=taken.items,
            )
            try:
                result = await calls.publish(call)
                if result.outcome == "log_lost":
                    known = {"output": self._ledger.output, "trace": self._ledger.trace[: taken.first_op]}
                    await calls.publish(call.model_copy(update=known))
            except ActivityError:
                workflow.logger.warning("published without Redis")

    async def _finish(self, ending: Ending) -> FinishedResponse:
        if not self._cut_off:
            self._ledger.close_open_items()
            await self._publish()
        # Items of a sample that was cut off are only known when the log has been read.
        is_known = not self._cut_off or ending.status != "incomplete"
        if is_known:
            await self._end_turn(ending)
        self._epoch += 1
        ended_at = int(workflow.now().timestamp())
        call = FinishInput(
            start=self._start,
            epoch=self._epoch,
            ending=ending,
            output=self._ledger.output,
            trace=self._ledger.trace,
            cut_off=self._cut_off,
            usage=self._usage,
            ended_at=ended_at,
        )
        try:
            result = await calls.finish(call)
        except ActivityError:
            # Redis stayed away. The result below is the truth, and readers fall back to it.
            workflow.logger.warning("finished without Redis")
            result = FinishResult()
        self._ledger.absorb(result.items, result.trace)
        if not is_known:
            await self._end_turn(ending)
        workflow.upsert_search_attributes([_STATUS.value_set(ending.status)])
        self._show(ending.status)
        return FinishedResponse(
            response=final_resource(self._start, ending, self._ledger.output, self._usage, ended_at),
            trace=self._ledger.trace,
        )

    async def _end_turn(self, ending: Ending) -> None:
        """Tell the conversation, before anybody hears of the end: whoever does finds the items there."""
        conversation_id = self._start.request.conversation_id
        if conversation_id is None or not workflow.patched("conversations"):
            return
        conversation = workflow.get_external_workflow_handle(conversation_id)
        try:
            await conversation.signal(END_TURN, end_of_turn(self._start, ending.status, self._ledger.output))
        except FailureError:
            workflow.logger.info("the conversation was deleted meanwhile")

    def _show(self, state: str) -> None:
        """The operator's view: Markdown in the Temporal UI."""
        usage = self._usage or TurnUsage()
        workflow.set_current_details(
            f"**{state}** · turn {self._turn} · try {self._epoch}\n\n"
            f"- model `{self._start.request.model}` on `{self._targets[self._fallback].provider}`\n"
            f"- tokens: {usage.input_tokens} in, {usage.output_tokens} out\n"
            f"- tool calls: {self._tool_calls}\n"
            f"- items: {len(self._ledger.output)}"
        )


def _carried_stop(carried: Carried | None) -> Ending | None:
    if carried is None:
        return None
    return carried.stop or (Ending(status="cancelled") if carried.cancelled else None)


def _as_text(outcome: Outcome) -> str:
    """An `mcp_call` holds text; images of a result are told of by their parts, as JSON."""
    if isinstance(outcome.output, str):
        return outcome.output
    return json.dumps(outcome.output, ensure_ascii=False)


def _provider_is_down(error: ActivityError) -> bool:
    """Whether another provider may do better: the sample says so, or it never came to an end."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return any(isinstance(said, dict) and said.get("provider_is_down") for said in cause.details)
    return isinstance(cause, TimeoutError) and cause.type != TimeoutType.SCHEDULE_TO_START


def _failure(error: ActivityError) -> Ending:
    """The code that a client can act on, as the activity mapped it."""
    cause = error.cause
    while cause is not None and not isinstance(cause, ApplicationError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ApplicationError):
        return Ending(status="failed", error_code=cause.type or "server_error", error_message=cause.message)
    return Ending(status="failed", error_message=str(cause or error))
