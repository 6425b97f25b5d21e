"""One try at one turn of the model: context, middleware, provider, assembler, log.

What this prevents: a sample that dies or is doubled and leaves a gap or a repeat in the stream. Every try first takes
the log over, so that what it reads there is final, and goes on from exactly that point.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeAlias

import orjson
import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.compact import Compacted, compact, compact_now
from activities.context import Context, Contexts, mcp_lists
from activities.errors import to_application_error
from activities.fitting import fitted
from activities.sample_call import build_call, corrected
from activities.takeover import Takeover, take_over
from open_responses.assembler import Assembler
from open_responses.compaction import compaction_item, owner
from open_responses.contracts import Counters, Halt, Middleware, Provider, SampleCall, SampleContext
from open_responses.deltas import Delta, Finish, ResumeToken, TextDelta, Usage
from open_responses.errors import (
    InvalidOutput,
    OpenResponsesError,
    ProviderCircuitOpen,
    ProviderStreamBroken,
    ProviderTimeout,
    ServerError,
    Unavailable,
)
from open_responses.fold import Fold
from open_responses.io.breaker import Breaker
from open_responses.io.event_log import Appender, Earlier, Fenced, LogLost, Writer, fence, item_field
from open_responses.io.json_schema import format_problem
from open_responses.io.redis import Redis, RedisDown
from open_responses.io.sealing import Sealer
from open_responses.json_types import JsonObject
from open_responses.middleware.compose import compose_sample
from open_responses.offer import Offer, build_offer
from open_responses.payloads import SampleInput, SampleResult, TurnUsage
from open_responses.replay import opening_events
from open_responses.rereading import Rereading
from open_responses.surrogates import Joiner
from open_responses.tool_output import without_parts
from open_responses.tools import FunctionTool

log = structlog.get_logger(__name__)

ATTEMPT = "open_responses:attempt"
# A provider that is down is waited for while there is no other: with a fallback, not for long.
_PATIENCE_WITH_FALLBACK_SECONDS = 10.0


Sample: TypeAlias = Callable[[SampleContext], AsyncGenerator[Delta, None]]


@dataclass(frozen=True, slots=True)
class TurnParts:
    """What a try works with: one of each per worker process."""

    redis: Redis
    contexts: Contexts
    appender: Appender
    breaker: Breaker
    providers: Mapping[str, Provider]
    adapters: Mapping[str, str]
    definitions: Mapping[str, FunctionTool]
    middleware: Sequence[Middleware]
    counters: Counters
    sealer: Sealer
    log_ttl_seconds: int


@dataclass(slots=True)
class Stage:
    """The turn as this try finds it, and where it writes."""

    context: Context
    offer: Offer
    assembler: Assembler
    writer: Writer


class Try:
    """`cancel` stops the try from outside, at once: called when the log says that the response was cancelled."""

    def __init__(self, parts: TurnParts, call: SampleInput, attempt: int, cancel: Callable[[], None]) -> None:
        self._with = parts
        self._call = call
        self._attempt = attempt
        self._cancel = cancel
        self._progress = 0
        self._spent = 0
        self._extra = Usage()
        self._has_begun = self._has_token = self._is_rereading = self._has_told = self._is_halted = False
        self.writer: Writer | None = None

    async def run(self) -> SampleResult:
        try:
            return await self._run()
        except Fenced:
            return SampleResult(outcome="fenced", reason="another worker took over")
        except OpenResponsesError as error:
            return await self._broken(error)
        except (*RedisDown, RPCError) as error:
            return await self._broken(Unavailable(f"a part of the server is away: {error}"))
        except ApplicationError:
            raise
        except Exception as error:
            log.exception("sample_crashed", response_id=self._call.response_id)
            return await self._broken(ServerError(f"the sample failed unexpectedly: {type(error).__name__}"))

    async def _run(self) -> SampleResult:
        call = self._call
        context, taken, wait = await asyncio.gather(
            self._with.contexts.load(call.response_id, call.first_output_index),
            take_over(self._with.redis, call, self._fence, self._attempt, ttl=self._with.log_ttl_seconds),
            self._with.breaker.ask(call.provider),
        )
        stage = self._open(context, taken)
        if taken.cancelled:
            return SampleResult(outcome="cancelled")
        if taken.turn_record is not None:
            return self._result(stage.writer, orjson.loads(taken.turn_record))
        if wait:
            message = f"{call.provider} has failed again and again; it is tried again in {wait:.0f} seconds"
            raise ProviderCircuitOpen(message, retry_after=wait)
        stage, sampled = self._begin(stage, taken)
        finish = await self._stream(stage, sampled)
        await self._with.breaker.succeeded(call.provider)
        return await self._close(stage.assembler, stage.writer, finish)

    @property
    def _fence(self) -> int:
        return fence(self._call.epoch, self._attempt)

    # --- where the turn stands

    def _open(self, context: Context, taken: Takeover) -> Stage:
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
        return Stage(context, offer, assembler, writer)

    async def _earlier(self) -> Earlier:
        return await self._with.contexts.earlier(self._call.response_id, self._call.first_sequence)

    def _begin(self, stage: Stage, taken: Takeover) -> tuple[Stage, SampleCall]:
        """Open the stream, or say what becomes of the half answer in the log; and the call to go on with."""
        call, writer, assembler = self._call, stage.writer, stage.assembler
        if taken.spent is not None:
            self._extra = Usage(**orjson.loads(taken.spent))
        if not taken.events and call.first_sequence == 0:
            writer.write(opening_events(stage.context.start.initial()))
        if len(assembler.fold.output) == call.first_output_index:
            if call.fell_back and not any(event["type"] == ATTEMPT for event in taken.events):
                writer.write([_attempt_event(call, self._attempt, "fallback")])
            sampled = self._sample_call(stage)
            return self._read_again(stage, taken, sampled) or (stage, sampled)
        action, stage, sampled = self._continuation(stage, taken)
        writer.write([_attempt_event(call, self._attempt, action)])
        if action == "restarted":
            self._give_up(stage)
            return stage, self._sample_call(stage)
        return stage, sampled

    def _give_up(self, stage: Stage) -> None:
        """Close what the lost try left. Behind a thought that led to nothing, a half message of no words says so."""
        if not stage.assembler.fold.open and stage.assembler.fold.output[-1]["type"] == "reasoning":
            stage.writer.write(stage.assembler.feed(TextDelta("")))
        stage.writer.write(stage.assembler.abandon())

    def _continuation(self, stage: Stage, taken: Takeover) -> tuple[str, Stage, SampleCall]:
        """`continued`, `resumed` or `restarted`, with the stage and the call that go with it (design: a retry after
        half an answer was streamed)."""
        sampled = self._sample_call(stage, goes_on=True)
        resume = self._provider.resume_of(sampled)
        reading = self._read_again(stage, taken, sampled)
        if reading is not None:
            return "resumed", *reading
        prefix = stage.assembler.unfinished_text()
        if prefix is None or (prefix and (resume in ("none", "background") or self._call.fallback)):
            return "restarted", stage, sampled
        # One delta is about one token: what is left of the budget can only be estimated after a crash.
        self._spent = sum(1 for event in taken.events if event["type"] == "response.output_text.delta")
        return "continued", stage, self._sample_call(stage, prefix or None, goes_on=True)

    def _read_again(self, stage: Stage, taken: Takeover, sampled: SampleCall) -> tuple[Stage, SampleCall] | None:
        """The answer that the provider has begun already, from its beginning; before its first word, too: it may be
        thinking for minutes. None where there is none."""
        if taken.resume is None or self._provider.resume_of(sampled) != "background":
            return None
        token = orjson.loads(taken.resume)
        if token["fallback"] != self._call.fallback:
            return None
        self._has_token = self._is_rereading = True
        reading = self._rereading(stage, taken, token["output_index"])
        return replace_assembler(stage, reading), replace(sampled, resume_token=token["token"])

    def _rereading(self, stage: Stage, taken: Takeover, first: int) -> Rereading:
        logged = [event for event in taken.events if event.get("output_index", -1) >= first]
        before = stage.assembler.fold.output[:first]
        return Rereading(stage.assembler.fold, stage.offer, self._call.response_id, before=before, logged=logged)

    @property
    def _provider(self) -> Provider:
        provider = self._with.providers.get(self._call.provider)
        if provider is None:
            raise ServerError(f"provider {self._call.provider!r} is not configured on this worker")
        return provider

    def _sample_call(self, stage: Stage, prefix: str | None = None, *, goes_on: bool = False) -> SampleCall:
        call = build_call(
            self._call,
            stage.context,
            stage.offer,
            stage.writer.fold,
            self._with.sealer,
            self._spent + self._extra.output_tokens,
            prefix,
            goes_on=goes_on,
        )
        adapter = self._with.adapters.get(self._call.provider, "")
        return replace(call, items=without_parts(call.items, adapter))

    # --- the provider's answer

    async def _stream(self, stage: Stage, sampled: SampleCall) -> Finish:
        left = self._call.max_output_tokens
        if left is not None and self._spent + self._extra.output_tokens >= left:
            return Finish("length")
        sample = compose_sample(self._with.middleware, lambda passed: self._provider.sample(passed.call))
        try:
            if stage.context.start.is_compaction:
                return await self._compaction(stage, sampled, sample)
            if sampled.prefix is None and sampled.resume_token is None:
                sampled = await self._compacted(stage, sampled, sample)
            if sampled.max_output_tokens is not None and sampled.max_output_tokens <= 0:
                return Finish("length", Usage())
            return await self._fitting(stage, sampled, sample)
        except Halt as halt:
            return self._halted(halt, stage)

    async def _fitting(self, stage: Stage, sampled: SampleCall, sample: Sample) -> Finish:
        """The whole answer. One that does not fit `text.format` is asked for once more (REQ-11)."""
        finish = await self._sampled(stage, sampled, sample)
        text = self._checked_text(stage, finish)
        problem = format_problem(stage.context.start.request, text) if text is not None else None
        if text is None or problem is None:
            return finish
        self._pay(stage.writer, finish.usage)
        stage.writer.write([_attempt_event(self._call, self._attempt, "restarted", reason=problem)])
        stage.writer.write(stage.assembler.abandon())
        left = self._call.max_output_tokens
        if left is not None and self._extra.output_tokens >= left:
            return Finish("length", Usage())
        finish = await self._sampled(stage, corrected(self._sample_call(stage), text, problem), sample)
        text = self._checked_text(stage, finish)
        problem = format_problem(stage.context.start.request, text) if text is not None else None
        if problem is not None:
            raise InvalidOutput(f"The model's answer does not fit text.format, asked for it twice: {problem}")
        return finish

    async def _sampled(self, stage: Stage, sampled: SampleCall, sample: Sample) -> Finish:
        sampled = fitted(sampled, self._call.context_window)
        writer, assembler, joiner = stage.writer, stage.assembler, Joiner()
        async with contextlib.aclosing(sample(self._sample_context(stage.context, sampled))) as stream:
            async for delta in stream:
                if isinstance(delta, Finish):
                    return delta
                self._has_begun = True
                if not isinstance(delta, ResumeToken):
                    self._progress += 1
                elif not self._is_rereading:
                    self._remember(writer, delta.token)
                events = assembler.feed(joiner.clean(delta))
                self._has_told = self._has_told or bool(events)
                writer.write(events)
                if writer.cancelled.is_set():
                    self._cancel()
        raise ProviderStreamBroken("the provider's stream ended without saying why")

    def _pay(self, writer: Writer, usage: Usage) -> None:
        """Count what was sampled beside the answer, also for whoever takes over."""
        self._extra = self._extra.plus(usage)
        writer.record({f"spent:{self._call.turn}": orjson.dumps(asdict(self._extra))})

    def _remember(self, writer: Writer, token: str) -> None:
        self._has_token = True
        known = {"token": token, "output_index": len(writer.fold.output), "fallback": self._call.fallback}
        writer.record({f"resume:{self._call.turn}": orjson.dumps(known)})

    def _checked_text(self, stage: Stage, finish: Finish) -> str | None:
        """The text that has to fit `text.format`; None for an answer that is cut off, refused, or calls tools first."""
        last = stage.writer.fold.snapshot()[-1:]
        if finish.reason != "stop" or stage.assembler.has_calls or not last or last[0]["type"] != "message":
            return None
        parts = last[0]["content"]
        return None if any(part["type"] == "refusal" for part in parts) else "".join(part["text"] for part in parts)

    def _sample_context(self, context: Context, call: SampleCall) -> SampleContext:
        return SampleContext(
            call=call,
            response_id=self._call.response_id,
            tenant=context.start.tenant,
            turn=self._call.turn,
            attempt=self._call.tries + self._attempt - 1,
            counters=self._with.counters,
            used=Usage(**self._call.used.model_dump()).plus(self._extra),
        )

    async def _compacted(self, stage: Stage, sampled: SampleCall, sample: Sample) -> SampleCall:
        """Put a summary into the output where the context has grown beyond the request's threshold."""
        threshold = stage.context.start.request.compact_threshold
        if threshold is None:
            return sampled
        context = self._sample_context(stage.context, sampled)
        return self._with_notes(stage, await compact(sample, context, threshold, self._call.context_window))

    async def _compaction(self, stage: Stage, sampled: SampleCall, sample: Sample) -> Finish:
        """The summary that was asked for by itself."""
        context = self._sample_context(stage.context, sampled)
        written = await compact_now(sample, context, self._call.context_window)
        if written.notes is None:
            raise InvalidOutput("The model wrote no summary of the conversation.")
        self._with_notes(stage, written)
        return Finish("stop", Usage())

    def _with_notes(self, stage: Stage, written: Compacted) -> SampleCall:
        """The call that goes on from the notes, if there are any."""
        if written.usage != Usage():
            self._pay(stage.writer, written.usage)
        if written.notes is not None:
            sealed = self._with.sealer.seal(written.notes.encode(), bound_to=owner(stage.context.start.tenant))
            stage.writer.write(stage.assembler.add_whole(compaction_item(sealed)))
        return self._sample_call(stage)

    def _halted(self, halt: Halt, stage: Stage) -> Finish:
        """A middleware ends the response: with its error, or with its own words as the last item."""
        if halt.error is not None:
            self._is_halted = True
            raise halt.error
        stage.writer.write(stage.assembler.abandon())
        stage.writer.write(stage.assembler.feed(TextDelta(halt.text or "")))
        return Finish("stop", Usage())

    # --- the end of the turn

    async def _close(self, assembler: Assembler, writer: Writer, finish: Finish) -> SampleResult:
        if len(writer.fold.output) == self._call.first_output_index and not assembler.has_calls:
            writer.write(assembler.feed(TextDelta("")))
        writer.write(assembler.close("incomplete" if finish.reason in ("length", "content_filter") else "completed"))
        usage = finish.usage
        spent = min(self._spent, usage.input_tokens)
        usage = replace(usage, input_tokens=usage.input_tokens - spent, output_tokens=usage.output_tokens + spent)
        ended: JsonObject = {
            "finish_reason": finish.reason,
            "usage": TurnUsage.of(usage.plus(self._extra)).model_dump(),
        }
        items = {
            item_field(self._call.first_output_index + i): orjson.dumps(item)
            for i, item in enumerate(writer.fold.output[self._call.first_output_index :])
        }
        writer.record({f"turn:{self._call.turn}": orjson.dumps(ended), **items})
        with contextlib.suppress(TimeoutError):
            # Redis may be away. The result is safe in Temporal, and whoever finishes writes the log again.
            await asyncio.wait_for(writer.flush(), 30.0)
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
        )

    async def _broken(self, error: OpenResponsesError) -> SampleResult:
        """A stream that broke after some progress goes on at once; without any, Temporal waits and tries again."""
        log.warning("sample_failed", response_id=self._call.response_id, code=error.error_code, progress=self._progress)
        if not isinstance(error, ProviderCircuitOpen) and not self._is_halted:
            await self._with.breaker.failed(self._call.provider, error)
        lost_token = self._has_token and self._is_no_longer_there(error)
        if self.writer is not None:
            if lost_token:
                self.writer.record({f"resume:{self._call.turn}": b""})
            with contextlib.suppress(TimeoutError, LogLost):
                await asyncio.wait_for(self.writer.flush(), 30.0)
        goes_on = self._progress or (lost_token and isinstance(error, ProviderStreamBroken))
        if error.retryable and goes_on and not self._is_halted:
            return SampleResult(outcome="broken", reason=error.message)
        seconds_left = 0.0 if self._is_halted else self._seconds_left(error)
        raise to_application_error(
            error,
            seconds_left=seconds_left,
            # Where another provider waits, its turn comes at the window's end, and not a back-off later.
            longest_pause=seconds_left if self._call.has_fallback else None,
            attempt=self._attempt,
            final=self._is_halted,
        ) from error

    def _is_no_longer_there(self, error: OpenResponsesError) -> bool:
        """Whether an answer that is read again would not go on: the provider ended it with an error, or has it no more.

        A connection that breaks or falls silent says nothing of the answer, unless a whole reading told nothing new.
        """
        if not isinstance(error, ProviderStreamBroken | ProviderTimeout):
            return error.retryable and self._has_begun
        return self._is_rereading and not self._has_told

    def _seconds_left(self, error: OpenResponsesError) -> float:
        """How long this provider may still be tried."""
        window = self._call.retry_window
        if self._call.has_fallback:
            window = 0 if isinstance(error, ProviderCircuitOpen) else min(window, _PATIENCE_WITH_FALLBACK_SECONDS)
        return window - (time.time() - activity.info().scheduled_time.timestamp())


def replace_assembler(stage: Stage, assembler: Assembler) -> Stage:
    return Stage(stage.context, stage.offer, assembler, stage.writer)


def _attempt_event(call: SampleInput, attempt: int, action: str, *, reason: str | None = None) -> JsonObject:
    return {
        "type": ATTEMPT,
        "turn": call.turn,
        "attempt": call.tries + attempt - 1,
        "provider": call.provider,
        "reason": reason or call.lost or "retried",
        "action": action,
    }
