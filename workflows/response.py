"""One response, from request to terminal event: sample, decide, finish. It decides; activities do.

A change here must replay the histories under `tests/histories`, or running responses break at the next deploy.
"""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from open_responses.json_types import JsonObject
    from open_responses.next_step import next_step
    from open_responses.payloads import (
        WORKFLOW,
        Ending,
        FinishedResponse,
        FinishInput,
        FinishResult,
        Progress,
        SampleInput,
        SampleResult,
        StartResponse,
        TurnUsage,
        final_resource,
    )
    from open_responses.trace import Op
    from workflows import calls

_STATUS = SearchAttributeKey.for_keyword("OpenResponsesStatus")
# A turn that broke this often makes no headway, even if each try streamed something.
_MAX_TRIES_PER_TURN = 100


@workflow.defn(name=WORKFLOW)
class ResponseWorkflow:
    """The durable loop. Workflow id = response id."""

    @workflow.init
    def __init__(self, start: StartResponse) -> None:
        self._start = start
        self._epoch = 0
        self._turn = 0
        self._output: list[JsonObject] = []
        self._trace: list[Op] = []
        self._next_sequence: int | None = 0
        self._usage: TurnUsage | None = None
        self._ending: Ending | None = None
        self._cancelled = False
        self._show("queued")

    @workflow.run
    async def run(self, start: StartResponse) -> FinishedResponse:
        ending = await self._loop()
        self._ending = ending
        return await self._finish(ending)

    @workflow.signal
    def cancel(self) -> None:
        """Stop as soon as possible and end in `cancelled`. Does nothing once the answer stands."""
        self._cancelled = True

    @workflow.query
    def progress(self) -> Progress:
        """State, finished items and the shape of the stream: what Redis may have lost."""
        return Progress(
            start=self._start,
            status=self._ending.status if self._ending else "in_progress",
            output=self._output,
            trace=self._trace,
            turn=self._turn,
        )

    async def _loop(self) -> Ending:
        while True:
            self._turn += 1
            try:
                result = await self._sample_turn()
            except ActivityError as error:
                return _failure(error)
            if result is None:
                return Ending(status="cancelled")
            self._take(result)
            step = next_step(result)
            return Ending(status=step.status, incomplete_reason=step.incomplete_reason)

    def _take(self, result: SampleResult) -> None:
        self._output.extend(result.items)
        self._trace.extend(result.trace)
        self._next_sequence = result.next_sequence
        self._usage = result.usage if self._usage is None else self._usage.plus(result.usage)

    async def _sample_turn(self) -> SampleResult | None:
        """One turn that stands, however many tries it takes; None when the response was cancelled.

        A try that ended early is scheduled again at once, under the next epoch: Temporal's own retry would wait a
        second, and its timer is for providers that asked for patience.
        """
        lost: str | None = None
        for _ in range(_MAX_TRIES_PER_TURN):
            result = await self._try_sample(lost)
            if result is None or result.outcome == "cancelled":
                return None
            if result.outcome == "done":
                return result
            lost = result.reason or result.outcome
        raise ActivityError(
            f"the provider's stream broke {_MAX_TRIES_PER_TURN} times; the last time: {lost}",
            scheduled_event_id=0,
            started_event_id=0,
            identity="",
            activity_type="sample",
            activity_id="",
            retry_state=None,
        )

    async def _try_sample(self, lost: str | None) -> SampleResult | None:
        self._epoch += 1
        self._show("sampling" if lost is None else f"sampling again ({lost})")
        if self._cancelled:
            self._next_sequence = None
            return None
        handle = calls.start_sample(self._sample_input(lost))
        await workflow.wait_condition(lambda: handle.done() or self._cancelled)
        if not handle.done():
            # Not waited for: the worker may be dead, and finish fences it off.
            handle.cancel()
            self._next_sequence = None
            return None
        try:
            result = await handle
        except ActivityError as error:
            self._next_sequence = None
            if isinstance(error.cause, CancelledError):
                return None
            raise
        if result.outcome == "cancelled":
            self._next_sequence = None
        return result

    def _sample_input(self, lost: str | None) -> SampleInput:
        return SampleInput(
            response_id=self._start.response_id,
            turn=self._turn,
            epoch=self._epoch,
            provider=self._start.provider,
            upstream_model=self._start.upstream_model,
            retry_window=self._start.retry_window,
            first_sequence=self._next_sequence or 0,
            first_output_index=len(self._output),
            max_output_tokens=self._tokens_left(),
            lost=lost,
        )

    def _tokens_left(self) -> int | None:
        limit = self._start.request.max_output_tokens
        if limit is None:
            return None
        return max(0, limit - (self._usage.output_tokens if self._usage else 0))

    async def _finish(self, ending: Ending) -> FinishedResponse:
        self._epoch += 1
        ended_at = int(workflow.now().timestamp())
        call = FinishInput(
            start=self._start,
            epoch=self._epoch,
            ending=ending,
            output=self._output,
            trace=self._trace,
            next_sequence=self._next_sequence,
            usage=self._usage,
            ended_at=ended_at,
        )
        try:
            result = await calls.finish(call)
        except ActivityError:
            # Redis stayed away. The result below is the truth, and readers fall back to it.
            workflow.logger.warning("finished without Redis")
            result = FinishResult()
        self._output.extend(result.items)
        self._trace.extend(result.trace)
        workflow.upsert_search_attributes([_STATUS.value_set(ending.status)])
        self._show(ending.status)
        return FinishedResponse(
            response=final_resource(self._start, ending, self._output, self._usage, ended_at),
            trace=self._trace,
        )

    def _show(self, state: str) -> None:
        """The operator's view: Markdown in the Temporal UI."""
        usage = self._usage or TurnUsage()
        workflow.set_current_details(
            f"**{state}** · turn {self._turn} · try {self._epoch}\n\n"
            f"- model `{self._start.request.model}` on `{self._start.provider}`\n"
            f"- tokens: {usage.input_tokens} in, {usage.output_tokens} out\n"
            f"- items: {len(self._output)}"
        )


def _failure(error: ActivityError) -> Ending:
    """The code that a client can act on, as the activity mapped it."""
    cause = error.cause
    while cause is not None and not isinstance(cause, ApplicationError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ApplicationError):
        return Ending(status="failed", error_code=cause.type or "server_error", error_message=cause.message)
    return Ending(status="failed", error_message=str(cause or error))
