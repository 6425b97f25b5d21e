"""Streams the model's answer into the log, within its bounds; ends it where a middleware halts it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import orjson
import structlog

from activities.providers.shared.estimates import estimated_usage
from activities.sampling.answer_meter import AnswerMeter, Excess, beginning
from activities.sampling.attempt_state import AttemptState
from activities.sampling.call_times import CallTimes, timed_call
from activities.sampling.code_fence import CodeFence
from activities.sampling.format_check import FormatCheck
from activities.sampling.summarize import Compacted, compact, compact_now
from activities.sampling.trouble_report import report_answer
from activities.sampling.window import fitted
from open_responses.context.compaction import compaction_item, owner
from open_responses.contracts import Halt, SampleCall, SampleContext
from open_responses.deltas import (
    Delta,
    Finish,
    ProviderItem,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    ResumeToken,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import InvalidOutput, ProviderAnswerRefused, ProviderStreamBroken
from open_responses.events.assembler import CUT_OFF, Assembler
from open_responses.events.surrogates import Joiner
from open_responses.io.schema_checks.checks import has_form
from open_responses.middleware.compose import compose_sample

log = structlog.get_logger(__name__)

Sample: TypeAlias = Callable[[SampleContext], AsyncGenerator[Delta, None]]


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """The answer of one attempt: `assembler` turns its deltas into events."""

    state: AttemptState
    assembler: Assembler

    async def stream(self, sampled: SampleCall) -> Finish:
        """Stream the whole answer into the log. Raises the ProviderError family, and Fenced."""
        if self.state.is_budget_spent:
            return Finish("length")
        if self.state.meter.left <= 0:
            return self._cut_off("max_output_bytes", Usage())
        try:
            finish = await self._asked(sampled)
        except Halt as halt:
            finish = self._halted(halt)
        # A middleware may end an answer while the provider is still generating it.
        await self.state.attempt.background.cancel()
        if self.state.progress.halted_by is not None:
            raise self.state.progress.halted_by
        return finish

    async def _asked(self, sampled: SampleCall) -> Finish:
        state = self.state
        last = state.attempt.background.watched(state.attempt.provider)
        sample = compose_sample(state.attempt.parts.middleware, lambda passed: last(passed.call))
        if state.context.start.is_compaction:
            return await self._compaction(sampled, self._bounded(sample))
        if sampled.prefix is None and sampled.resume_token is None:
            sampled = await self._compacted(sampled, self._bounded(sample))
        if sampled.max_output_tokens is not None and sampled.max_output_tokens <= 0:
            return Finish("length", Usage())
        check = FormatCheck(state, self.assembler, lambda call, held: self._sampled(call, sample, held), self._write)
        return await check.sample(sampled)

    def _halted(self, halt: Halt) -> Finish:
        """A middleware ends the response: with its error, or with its own text as the last item."""
        state = self.state
        state.progress.halted_by = halt.error
        if halt.error is None:
            state.writer.write(self.assembler.abandon())
            state.writer.write(self.assembler.feed(TextDelta(halt.text or "")))
        return Finish("stop", state.progress.reported or Usage())

    # --- one answer

    def _context(self, call: SampleCall) -> SampleContext:
        """The context for middlewares and the adapter; it keeps the usage that the adapter reports meanwhile."""

        def report(usage: Usage) -> None:
            self.state.report(usage, is_read_again=self.state.progress.has_token)

        def keep(unread: Sequence[str]) -> None:
            self.state.progress.unread = unread

        self.state.progress.reported, self.state.progress.unread = None, ()
        return self.state.sample_context(replace(call, on_usage=report, on_unread=keep))

    async def _sampled(self, sampled: SampleCall, sample: Sample, held: list[TextDelta] | None = None) -> Finish:
        """Write the events of each delta. With `held`, text at the end of the answer is collected there instead."""
        state = self.state
        state.meter.forget_calls()
        context = self._context(await fitted(sampled, state.attempt.call.context_window))
        with timed_call(state) as times:
            # In a task of its own: each piece of the answer resumes all coroutines of its task, and there are ten here.
            return await asyncio.create_task(self._deltas(sampled, sample(context), times, held))

    async def _deltas(
        self,
        sampled: SampleCall,
        answer: AsyncGenerator[Delta, None],
        times: CallTimes,
        held: list[TextDelta] | None,
    ) -> Finish:
        state, progress, joiner, writer = self.state, self.state.progress, Joiner(), self.state.writer
        text = TextEnd(held, self._write)
        fence = CodeFence(is_continued=bool(sampled.prefix)) if has_form(state.context.start.request) else None
        has_content = False
        async with contextlib.aclosing(answer) as stream:
            async for delta in stream:
                times.came(delta)
                if isinstance(delta, Finish):
                    text.read(fence.end() if fence is not None else ())
                    self._check_names(delta)
                    self._check_content(delta, has_content=has_content)
                    await state.prices_ready()
                    return delta
                progress.has_begun = True
                has_content = has_content or _holds_something(delta)
                excess = state.meter.count(delta)
                if excess is not None:
                    text.read(fence.end() if fence is not None else ())
                    self._write([*text.taken(), *_as_much_as(delta, state.meter.left)])
                    return self._cut_off(excess, self._usage_so_far(sampled))
                progress.read(delta)
                if not isinstance(delta, ResumeToken):
                    progress.deltas += 1
                    if progress.deltas == 1:
                        report_answer(state.attempt.call, state.attempt.number)
                elif not progress.is_read_again:
                    self._remember(delta.token)
                delta = joiner.clean(delta)
                if fence is None and text.held is None:
                    self._write_one(delta)
                else:
                    text.read([delta] if fence is None else fence.read(delta))
                if writer.cancelled:
                    state.attempt.cancel()
        raise ProviderStreamBroken("the provider's stream ended without saying why")

    def _check_content(self, finish: Finish, *, has_content: bool) -> None:
        """Log an answer that holds nothing although the provider counts output, because the adapter may not know its
        form, and events of which the adapter could make nothing."""
        call, events = self.state.attempt.call, list(self.state.progress.unread)
        is_empty = not has_content and finish.usage.output_tokens > 0
        if not is_empty and not (has_content and events):
            return
        log.warning(
            "answer_holds_nothing" if is_empty else "events_left_out",
            response_id=call.response_id,
            provider=call.provider,
            model=call.upstream_model,
            output_tokens=finish.usage.output_tokens,
            finish_reason=finish.reason,
            events=events,
        )

    def _check_names(self, finish: Finish) -> None:
        """Raise ProviderAnswerRefused for a whole answer with a call of no function: the model would read so, and
        be asked again, up to the last turn, while it is the provider that leaves the name out."""
        if finish.reason not in CUT_OFF and self.assembler.has_nameless_calls:
            raise ProviderAnswerRefused(f"{self.state.attempt.call.provider} sent a function call without its name")

    def _cut_off(self, excess: Excess, usage: Usage) -> Finish:
        """End an answer at a bound: its beginning stays in the output, and the rest is not read."""
        self.state.progress.excess = excess
        log.warning("answer_cut_off", response_id=self.state.attempt.call.response_id, reason=excess)
        return Finish("length", usage)

    def _usage_so_far(self, sampled: SampleCall) -> Usage:
        """The usage of a call that is cut off: as the provider reported it, or an estimate if the report is lower than
        the received text."""
        estimate, counted = estimated_usage(sampled, self.state.meter.characters), self.state.progress.reported
        if counted is None or counted.output_tokens >= estimate.output_tokens:
            return counted or estimate
        return replace(counted, output_tokens=estimate.output_tokens, estimated=True)

    def _bounded(self, sample: Sample) -> Sample:
        """A sample for summaries, which are not streamed. Raises ProviderAnswerRefused for one that is too large."""

        async def bounded(context: SampleContext) -> AsyncGenerator[Delta, None]:
            meter = AnswerMeter(self.state.meter.bounds)
            async with contextlib.aclosing(sample(context)) as stream:
                async for delta in stream:
                    excess = meter.count(delta)
                    if excess is not None:
                        raise ProviderAnswerRefused(f"the provider's summary is too large ({excess})")
                    yield delta

        return bounded

    def _write(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            self._write_one(delta)

    def _write_one(self, delta: Delta) -> None:
        events = self.assembler.feed(delta)
        if events:
            self.state.progress.has_new_events = True
        self.state.writer.write(events)

    def _remember(self, token: str) -> None:
        """Keep the token in the log, by which a later attempt reads the answer again."""
        state = self.state
        state.progress.has_token = True
        known = {"token": token, "output_index": len(state.writer.fold.output), "fallback": state.attempt.call.fallback}
        state.writer.record({f"resume:{state.attempt.call.turn}": orjson.dumps(known)})

    # --- a summary

    async def _compacted(self, sampled: SampleCall, sample: Sample) -> SampleCall:
        """Put a summary into the output if the context has more tokens than the request's threshold."""
        state = self.state
        threshold = state.context.start.request.compact_threshold
        if threshold is None:
            return sampled
        context = self._context(sampled)
        return await self._with_notes(await compact(sample, context, threshold, state.attempt.call.context_window))

    async def _compaction(self, sampled: SampleCall, sample: Sample) -> Finish:
        """Write the summary that `/v1/responses/compact` asks for."""
        state = self.state
        written = await compact_now(sample, self._context(sampled), state.attempt.call.context_window)
        if written.notes is None:
            await state.prices_ready()
            state.pay(written.usage)
            raise InvalidOutput("The model wrote no summary of the conversation.")
        await self._with_notes(written)
        return Finish("stop", Usage())

    async def _with_notes(self, written: Compacted) -> SampleCall:
        """Write the summary item, if there are notes. Returns the call that goes on from there."""
        state = self.state
        if written.usage != Usage():
            await state.prices_ready()
            state.pay(written.usage)
        if written.notes is not None:
            sealed = state.attempt.parts.sealer.seal(written.notes.encode(), bound_to=owner(state.context.start.tenant))
            state.writer.write(self.assembler.add_whole(compaction_item(sealed)))
        return state.sample_call()


def _holds_something(delta: Delta) -> bool:
    """Whether a client sees anything of the delta."""
    match delta:
        case TextDelta(text=text) | RefusalDelta(text=text):
            return bool(text)
        case ReasoningDelta(text=text) | ReasoningSummaryDelta(text=text):
            return bool(text)
        case ToolCallDelta() | ProviderItem():
            return True
    return False


@dataclass(slots=True)
class TextEnd:
    """Writes deltas. With `held`, the text at the end of the answer is collected there instead."""

    held: list[TextDelta] | None
    write: Callable[[Iterable[Delta]], None]

    def read(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            if self.held is not None and isinstance(delta, TextDelta):
                self.held.append(delta)
            else:
                self.write([*self.taken(), delta])

    def taken(self) -> list[TextDelta]:
        """The text that was collected, which turned out not to be the end of the answer."""
        taken = list(self.held or ())
        if self.held:
            self.held.clear()
            self.held = None
        return taken


def _as_much_as(delta: Delta, left: int) -> list[Delta]:
    """The first `left` bytes of a text or reasoning delta; nothing of any other delta."""
    if not isinstance(delta, TextDelta | ReasoningDelta) or left <= 0:
        return []
    text = beginning(delta.text, left)
    return [TextDelta(text, phase=delta.phase) if isinstance(delta, TextDelta) else ReasoningDelta(text)]
