"""The provider's answer to a turn: streamed into the log, checked against `text.format`, halted by a middleware."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import orjson
import structlog

from activities.providers.shared.estimates import estimated_usage
from activities.sampling.answer_meter import AnswerMeter, Excess, beginning
from activities.sampling.attempt_progress import Headway
from activities.sampling.attempt_state import Stage
from activities.sampling.background_generation import BackgroundAnswer
from activities.sampling.provider_request import corrected
from activities.sampling.summarize import Compacted, compact, compact_now
from activities.sampling.window import fitted
from open_responses.context.compaction import compaction_item, owner
from open_responses.contracts import Halt, SampleCall, SampleContext
from open_responses.deltas import Delta, Finish, ReasoningDelta, ResumeToken, TextDelta, Usage
from open_responses.errors import InvalidOutput, ProviderAnswerRefused, ProviderStreamBroken
from open_responses.events.surrogates import Joiner
from open_responses.io.schema_checks.checks import has_form
from open_responses.middleware.compose import compose_sample

log = structlog.get_logger(__name__)

Sample: TypeAlias = Callable[[SampleContext], AsyncGenerator[Delta, None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One try's. `cancel` stops the try from outside, at once: called when the log says that the response was
    cancelled."""

    stage: Stage
    headway: Headway
    background: BackgroundAnswer
    cancel: Callable[[], None]

    async def stream(self, sampled: SampleCall) -> Finish:
        """The whole answer, in the log as far as it was told. Raises the ProviderError family, and Fenced."""
        if self.stage.is_budget_spent:
            return Finish("length")
        if self.stage.meter.left <= 0:
            return self._cut_off("max_output_bytes", Usage())
        try:
            finish = await self._asked(sampled)
        except Halt as halt:
            finish = self._halted(halt)
        # A middleware may end an answer that its provider goes on with.
        await self.background.cancel()
        if self.headway.halted_by is not None:
            raise self.headway.halted_by
        return finish

    async def _asked(self, sampled: SampleCall) -> Finish:
        stage = self.stage
        last = self.background.watched(stage.provider)
        sample = compose_sample(stage.parts.middleware, lambda passed: last(passed.call))
        if stage.context.start.is_compaction:
            return await self._compaction(sampled, self._bounded(sample))
        if sampled.prefix is None and sampled.resume_token is None:
            sampled = await self._compacted(sampled, self._bounded(sample))
        if sampled.max_output_tokens is not None and sampled.max_output_tokens <= 0:
            return Finish("length", Usage())
        return await self._fitting(sampled, sample)

    def _halted(self, halt: Halt) -> Finish:
        """A middleware ends the response: with its error, or with its own words as the last item."""
        stage = self.stage
        self.headway.halted_by = halt.error
        if halt.error is None:
            stage.writer.write(stage.assembler.abandon())
            stage.writer.write(stage.assembler.feed(TextDelta(halt.text or "")))
        return Finish("stop", stage.reported or Usage())

    # --- one answer that fits

    async def _fitting(self, sampled: SampleCall, sample: Sample) -> Finish:
        """The whole answer. One that does not fit `text.format` is asked for once more (REQ-11).

        Where nobody watches it grow, it is told once it fits: clients read the texts of all messages as one.
        """
        stage, held = self.stage, list[TextDelta]()
        request = stage.context.start.request
        is_watched = request.is_streamed or sampled.prefix or sampled.resume_token
        finish = await self._sampled(sampled, sample, held if has_form(request) and not is_watched else None)
        text = self._checked_text(finish, held)
        problem = await self._problem(text)
        if text is None or problem is None:
            self._tell(held)
            return finish
        stage.pay(finish.usage)
        stage.tell_attempt("restarted", reason=problem)
        stage.writer.write(stage.assembler.abandon())
        left = stage.call.max_output_tokens
        if left is not None and stage.beside.output_tokens >= left:
            return Finish("length", Usage())
        finish = await self._sampled(corrected(stage.sample_call(), text, problem), sample)
        problem = await self._problem(self._checked_text(finish, []))
        if problem is not None:
            stage.pay(finish.usage)
            raise InvalidOutput(f"The model's answer does not fit text.format, asked for it twice: {problem}")
        return finish

    async def _problem(self, text: str | None) -> str | None:
        if text is None:
            return None
        start = self.stage.context.start
        return await self.stage.parts.schema_checks.format_problem(start.request, text, start.tenant)

    def _checked_text(self, finish: Finish, held: Sequence[TextDelta]) -> str | None:
        """The text that has to fit `text.format`; None for an answer that is cut off, refused, or calls tools first."""
        if finish.reason != "stop" or self.stage.assembler.has_calls:
            return None
        if held:
            return "".join(delta.text for delta in held)
        last = self.stage.writer.fold.snapshot()[-1:]
        if not last or last[0]["type"] != "message":
            return None
        parts = last[0]["content"]
        return None if any(part["type"] == "refusal" for part in parts) else "".join(part["text"] for part in parts)

    def _context(self, call: SampleCall) -> SampleContext:
        """What middlewares and the adapter get; the tokens that the adapter reports are kept on the way."""

        def report(usage: Usage) -> None:
            self.stage.report(usage, is_read_again=self.headway.has_token)

        self.stage.reported = None
        return self.stage.sample_context(replace(call, on_usage=report))

    async def _sampled(self, sampled: SampleCall, sample: Sample, held: list[TextDelta] | None = None) -> Finish:
        """Tells what comes. Text at the end of the answer waits in `held`, if that is given."""
        stage, headway, joiner, writer = self.stage, self.headway, Joiner(), self.stage.writer
        stage.meter.forget_calls()
        context = self._context(await fitted(sampled, stage.call.context_window))
        async with contextlib.aclosing(sample(context)) as stream:
            async for delta in stream:
                if isinstance(delta, Finish):
                    return delta
                headway.has_begun = True
                excess = stage.meter.count(delta)
                if excess is not None:
                    self._tell([*(held or ()), *_as_much_as(delta, stage.meter.left)])
                    return self._cut_off(excess, self._usage_so_far(sampled))
                headway.read(delta)
                if not isinstance(delta, ResumeToken):
                    headway.deltas += 1
                elif not headway.is_read_again:
                    self._remember(delta.token)
                delta = joiner.clean(delta)
                if held is not None and isinstance(delta, TextDelta):
                    held.append(delta)
                else:
                    self._tell([*(held or ()), delta])
                    if held:
                        # It was not the end of the answer.
                        held.clear()
                        held = None
                if writer.cancelled.is_set():
                    self.cancel()
        raise ProviderStreamBroken("the provider's stream ended without saying why")

    def _cut_off(self, excess: Excess, usage: Usage) -> Finish:
        """The end of an answer that is larger than one may be: what came of it stays, and the rest is not read."""
        self.headway.excess = excess
        log.warning("answer_cut_off", response_id=self.stage.call.response_id, reason=excess)
        return Finish("length", usage)

    def _usage_so_far(self, sampled: SampleCall) -> Usage:
        """Of a call that is left in its middle: as counted, and estimated where that is less than what came."""
        estimate, counted = estimated_usage(sampled, self.stage.meter.characters), self.stage.reported
        if counted is None or counted.output_tokens >= estimate.output_tokens:
            return counted or estimate
        return replace(counted, output_tokens=estimate.output_tokens, estimated=True)

    def _bounded(self, sample: Sample) -> Sample:
        """For a summary, which is not told. Raises ProviderAnswerRefused for one that is too large."""

        async def bounded(context: SampleContext) -> AsyncGenerator[Delta, None]:
            meter = AnswerMeter(self.stage.meter.bounds)
            async with contextlib.aclosing(sample(context)) as stream:
                async for delta in stream:
                    excess = meter.count(delta)
                    if excess is not None:
                        raise ProviderAnswerRefused(f"the provider's summary is too large ({excess})")
                    yield delta

        return bounded

    def _tell(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            events = self.stage.assembler.feed(delta)
            self.headway.has_told = self.headway.has_told or bool(events)
            self.stage.writer.write(events)

    def _remember(self, token: str) -> None:
        """What whoever takes over reads the answer again by."""
        stage = self.stage
        self.headway.has_token = True
        known = {"token": token, "output_index": len(stage.writer.fold.output), "fallback": stage.call.fallback}
        stage.writer.record({f"resume:{stage.call.turn}": orjson.dumps(known)})

    # --- a summary

    async def _compacted(self, sampled: SampleCall, sample: Sample) -> SampleCall:
        """Put a summary into the output where the context has grown beyond the request's threshold."""
        stage = self.stage
        threshold = stage.context.start.request.compact_threshold
        if threshold is None:
            return sampled
        context = self._context(sampled)
        return self._with_notes(await compact(sample, context, threshold, stage.call.context_window))

    async def _compaction(self, sampled: SampleCall, sample: Sample) -> Finish:
        """The summary that was asked for by itself."""
        stage = self.stage
        written = await compact_now(sample, self._context(sampled), stage.call.context_window)
        if written.notes is None:
            stage.pay(written.usage)
            raise InvalidOutput("The model wrote no summary of the conversation.")
        self._with_notes(written)
        return Finish("stop", Usage())

    def _with_notes(self, written: Compacted) -> SampleCall:
        """The call that goes on from the notes, if there are any."""
        stage = self.stage
        if written.usage != Usage():
            stage.pay(written.usage)
        if written.notes is not None:
            sealed = stage.parts.sealer.seal(written.notes.encode(), bound_to=owner(stage.context.start.tenant))
            stage.writer.write(stage.assembler.add_whole(compaction_item(sealed)))
        return stage.sample_call()


def _as_much_as(delta: Delta, left: int) -> list[Delta]:
    """The beginning of a text that is too long; nothing of what has no beginning."""
    if not isinstance(delta, TextDelta | ReasoningDelta) or left <= 0:
        return []
    text = beginning(delta.text, left)
    return [TextDelta(text, phase=delta.phase) if isinstance(delta, TextDelta) else ReasoningDelta(text)]
