"""One try at one turn of the model: context, middleware, provider, assembler, log.

What this prevents: a sample that dies or is doubled and leaves a gap or a repeat in the stream. Every try first takes
the log over, so that what it reads there is final, and goes on from exactly that point.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace

import orjson
import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.errors import to_application_error
from activities.sampling.answer import Answer
from activities.sampling.answer_meter import AnswerMeter
from activities.sampling.attempt_progress import Headway
from activities.sampling.attempt_state import Stage, TurnParts
from activities.sampling.background_generation import BackgroundAnswer
from activities.sampling.budget import reserve
from activities.sampling.context import Context, HasEnded, mcp_lists
from activities.sampling.resume import Continuation
from open_responses.contracts import SampleCall
from open_responses.deltas import Finish, TextDelta
from open_responses.errors import OpenResponsesError, ProviderCircuitOpen, ServerError, TokenBudgetExceeded, Unavailable
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.io.log.takeover import Takeover, take_over
from open_responses.io.log.writer import AppendRefused, Earlier, Fenced, LogLost, Writer, fence, item_field
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.outside_ends import OVERTAKEN
from open_responses.json_types import JsonObject
from open_responses.loop.payloads import SampleInput, SampleResult, TurnUsage
from open_responses.tool_use.tool_table import build_offer

log = structlog.get_logger(__name__)

# How soon a sample that an outage of Redis or Temporal ended is tried again. Temporal's own pauses double: the last one
# would go on for seconds after the outage, while a client waits.
_OUTAGE_RETRY_SECONDS = 1.0
# A provider that is down is waited for while there is no other: with a fallback, not for long.
_PATIENCE_WITH_FALLBACK_SECONDS = 10.0
# Redis may be away. A result is safe in Temporal, and whoever finishes writes the log again.
_FLUSH_SECONDS = 30.0
_ENDED = "the response has ended"


class Try:
    """`cancel` stops the try from outside, at once: called when the log says that the response was cancelled."""

    def __init__(self, parts: TurnParts, call: SampleInput, attempt: int, cancel: Callable[[], None]) -> None:
        self._with = parts
        self._call = call
        self._attempt = attempt
        self._cancel = cancel
        self._headway = Headway()
        self.response_id = call.response_id
        self.background = BackgroundAnswer(call.response_id)
        self.writer: Writer | None = None
        self._stage: Stage | None = None
        self._prefix: str | None = None

    async def run(self) -> SampleResult:
        try:
            return await self._run()
        except HasEnded:
            return SampleResult(outcome="cancelled", reason=_ENDED)
        except Fenced as fenced:
            if fenced.has_ended:
                return SampleResult(outcome="cancelled", reason=_ENDED)
            return SampleResult(outcome="fenced", reason="another worker took over", epoch_seen=fenced.epoch)
        except OpenResponsesError as error:
            return await self._broken(error)
        except AppendRefused as error:
            return await self._broken(ServerError(f"The event log does not take this response's events: {error}"))
        except (*RedisDown, RPCError) as error:
            message = f"a part of the server is away: {error}"
            return await self._broken(Unavailable(message, retry_after=_OUTAGE_RETRY_SECONDS))
        except ApplicationError:
            raise
        except Exception as error:
            log.exception("sample_crashed", response_id=self._call.response_id)
            return await self._broken(ServerError(f"the sample failed unexpectedly: {type(error).__name__}"))

    async def _run(self) -> SampleResult:
        call = self._call
        context, taken, wait = await asyncio.gather(
            self._with.contexts.load(call.response_id, call.first_output_index),
            self._take_over(),
            self._with.breaker.ask(call.provider),
        )
        self._stage = stage = self._open(context, taken)
        if taken.cancelled:
            return SampleResult(outcome="cancelled", usage=self.paid)
        if taken.turn_record is not None:
            return await self._as_recorded(stage, orjson.loads(taken.turn_record))
        if wait:
            message = f"{call.provider} has failed again and again; it is tried again in {wait:.0f} seconds"
            raise ProviderCircuitOpen(message, retry_after=wait)
        sampled = Continuation(stage, taken, self._headway).begin()
        self._prefix = sampled.prefix
        await self._reserve(stage, sampled)
        finish = await Answer(stage, self._headway, self.background, self._cancel).stream(sampled)
        await self._with.breaker.succeeded(call.provider)
        return await self._close(stage, finish)

    async def _reserve(self, stage: Stage, sampled: SampleCall) -> None:
        try:
            await reserve(self._with.quotas, stage, sampled)
        except TokenBudgetExceeded as error:
            # No fault of the provider, and no other provider may be asked either.
            self._headway.halted_by = error
            raise

    async def _take_over(self) -> Takeover:
        run_id = activity.info().workflow_run_id or ""
        ttl = self._with.log_ttl_seconds
        return await take_over(self._with.redis, self._call, self._fence, self._attempt, ttl=ttl, run_id=run_id)

    async def _as_recorded(self, stage: Stage, ended: JsonObject) -> SampleResult:
        """A turn that ended, whose result was lost with its worker, or that an operator's reset has come back to. What
        the stream has shown stays: where it has gone on since, the response can only end."""
        if stage.writer.next_sequence > ended.get("next_sequence", stage.writer.next_sequence):
            await self._with.contexts.records.outside_ends.write(stage.context.start, OVERTAKEN, int(time.time()))
            return SampleResult(outcome="cancelled", reason=_ENDED)
        return self._result(stage.writer, ended)

    @property
    def paid(self) -> TurnUsage:
        """What the provider has counted for the turn, in all its tries so far."""
        if self._stage is None:
            return self._call.paid
        return TurnUsage.of(self._stage.beside).at_least(self._call.paid)

    def stop(self) -> None:
        """The try was ended from outside: count what its provider had counted until then, unless its answer will be
        read again."""
        if self._stage is not None and not self._headway.has_token:
            self._stage.pay_reported()

    @property
    def _fence(self) -> int:
        return fence(self._call.epoch, self._attempt)

    def _open(self, context: Context, taken: Takeover) -> Stage:
        """The stage, with what the log has adopted."""
        start = context.start
        lists = mcp_lists(context.conversation(context.output)) if start.has_mcp else {}
        offer = build_offer(
            start.request, start.hosted, self._with.definitions, lists, choice_spent=self._call.choice_spent
        )
        fold = Fold(context.output)
        assembler = Assembler(fold, offer, self._call.response_id)
        self.writer = writer = Writer(
            self._with.appender,
            self._call.response_id,
            fence=self._fence,
            initial=start.initial(),
            base=self._call.first_sequence,
            fold=fold,
            earlier=self._earlier,
        )
        for event in taken.events:
            writer.adopt(event)
        left = fold.snapshot()[self._call.first_output_index :] if taken.events else []
        meter = AnswerMeter(self._with.bounds, before=self._call.produced, size=sum(map(len, map(orjson.dumps, left))))
        return Stage(self._with, self._call, self._attempt, context, offer, assembler, writer, meter)

    async def _earlier(self) -> Earlier:
        return await self._with.contexts.earlier(self._call.response_id, self._call.first_sequence)

    # --- the end of the turn

    async def _close(self, stage: Stage, finish: Finish) -> SampleResult:
        assembler, writer, first = stage.assembler, stage.writer, self._call.first_output_index
        if len(writer.fold.output) == first and not assembler.has_calls:
            writer.write(assembler.feed(TextDelta("")))
        writer.write(assembler.close("incomplete" if finish.reason in ("length", "content_filter") else "completed"))
        usage = finish.usage
        spent = min(stage.spent, usage.input_tokens)
        usage = replace(usage, input_tokens=usage.input_tokens - spent, output_tokens=usage.output_tokens + spent)
        ended: JsonObject = {
            "finish_reason": finish.reason,
            "usage": TurnUsage.of(usage.plus(stage.beside)).model_dump(),
            "produced": stage.meter.size,
            "incomplete_reason": self._headway.excess,
            "next_sequence": writer.next_sequence,
        }
        items = {item_field(first + i): orjson.dumps(item) for i, item in enumerate(writer.fold.output[first:])}
        writer.record({f"turn:{self._call.turn}": orjson.dumps(ended), **items})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(writer.flush(), _FLUSH_SECONDS)
        return self._result(writer, ended)

    def _result(self, writer: Writer, ended: JsonObject) -> SampleResult:
        writer.settle()
        return SampleResult(
            outcome="done",
            items=writer.fold.output[self._call.first_output_index :],
            trace=writer.trace.ops,
            next_sequence=writer.next_sequence,
            finish_reason=ended["finish_reason"],
            usage=TurnUsage.model_validate(ended["usage"]),
            ended_at=time.time(),
            produced=ended.get("produced", 0),
            incomplete_reason=ended.get("incomplete_reason"),
        )

    async def _broken(self, error: OpenResponsesError) -> SampleResult:
        """What a failed try leads to: another one at once, or Temporal's patience, or the response's failure."""
        headway = self._headway
        log.warning("sample_failed", response_id=self._call.response_id, code=error.error_code, progress=headway.deltas)
        is_halted = headway.halted_by is not None
        if not isinstance(error, ProviderCircuitOpen) and not is_halted:
            await self._with.breaker.failed(self._call.provider, error)
        if self.writer is not None:
            has_lost_answer = headway.has_lost_answer(error)
            if has_lost_answer:
                self.writer.record({f"resume:{self._call.turn}": b""})
            if self._stage is not None and (has_lost_answer or not headway.has_token or not error.retryable):
                self._stage.pay_reported()
            with contextlib.suppress(TimeoutError, LogLost):
                await asyncio.wait_for(self.writer.flush(), _FLUSH_SECONDS)
        broke_at = headway.broke_at(error, self._prefix) if headway.halted_by is None else None
        if broke_at is not None or headway.goes_on_at_once(error):
            return SampleResult(
                outcome="broken",
                reason=error.message,
                usage=self.paid,
                broke_at=broke_at,
                code=error.error_code,
                made_progress=headway.has_content,
            )
        seconds_left = 0.0 if is_halted else self._seconds_left(error)
        raise to_application_error(
            error,
            seconds_left=seconds_left,
            # Where another provider waits, its turn comes at the window's end, and not a back-off later.
            longest_pause=seconds_left if self._call.has_fallback else None,
            attempt=self._attempt,
            final=is_halted,
            paid=self.paid,
        ) from error

    def _seconds_left(self, error: OpenResponsesError) -> float:
        """How long this provider may still be tried."""
        window = self._call.retry_window
        if self._call.has_fallback:
            window = 0 if isinstance(error, ProviderCircuitOpen) else min(window, _PATIENCE_WITH_FALLBACK_SECONDS)
        return window - (time.time() - activity.info().scheduled_time.timestamp())
