"""One turn of the model: context, middleware, provider, assembler, log.

What this prevents: a sample that dies or is doubled and leaves a gap or a repeat in the stream. Every try first takes
the log over, so that what it reads there is final, and goes on from exactly that point.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.compact import summarize
from activities.context import Context, Contexts, mcp_lists
from activities.errors import to_application_error
from activities.fitting import fitted
from activities.running import RunningWork, Stop
from activities.takeover import Takeover, take_over
from open_responses.assembler import Assembler
from open_responses.compaction import compaction_item, from_summary, is_due, owner, summary_call
from open_responses.contracts import Counters, Halt, Middleware, Provider, SampleCall, SampleContext
from open_responses.deltas import Delta, Finish, TextDelta, Usage
from open_responses.errors import OpenResponsesError, ProviderStreamBroken, ServerError, Unavailable
from open_responses.fold import Fold
from open_responses.io.event_log import Appender, Earlier, Fenced, Writer, fence, item_field
from open_responses.io.leases import Lease, Running
from open_responses.io.redis import Redis, RedisDown
from open_responses.io.sealing import SealBroken, Sealer
from open_responses.json_types import JsonObject
from open_responses.middleware.compose import compose_sample
from open_responses.offer import HOSTED_LABEL, Offer, build_offer
from open_responses.payloads import SAMPLE, SampleInput, SampleResult, TurnUsage
from open_responses.replay import opening_events
from open_responses.tokens import at_most, item_tokens
from open_responses.tools import FunctionTool
from open_responses.transcript import as_model_reads

log = structlog.get_logger(__name__)

_HEARTBEAT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class SampleActivity:
    """The activity, with what it works on."""

    redis: Redis
    contexts: Contexts
    appender: Appender
    lease: Lease
    running: RunningWork
    providers: Mapping[str, Provider]
    definitions: Mapping[str, FunctionTool]
    middleware: Sequence[Middleware]
    counters: Counters
    sealer: Sealer
    log_ttl_seconds: int

    @activity.defn(name=SAMPLE)
    async def sample(self, call: SampleInput) -> SampleResult:
        """Run the turn to its end, or say how it ended. Raises ApplicationError, for Temporal to retry or not."""
        info = activity.info()
        named = Running(info.workflow_id or "", info.workflow_run_id or "", info.activity_id)
        self.lease.began(named)
        stop = self.running.enter(call.response_id)
        beats = asyncio.create_task(_beat())
        try:
            return await self._until_stopped(Try(self, call, info.attempt), stop)
        finally:
            beats.cancel()
            self.running.leave(call.response_id, stop)
            self.lease.ended(named)

    async def _until_stopped(self, this: Try, stop: asyncio.Future[Stop]) -> SampleResult:
        """Race the turn against being told to stop; either way the provider's connection is closed."""
        turn: asyncio.Task[SampleResult] = asyncio.create_task(this.run())
        waiting: list[asyncio.Future[Any]] = [turn, stop]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if turn.done():
                return turn.result()
        finally:
            if not turn.done():
                turn.cancel()
                with contextlib.suppress(asyncio.CancelledError, OpenResponsesError, Fenced):
                    await turn
        if this.writer is not None:
            with contextlib.suppress(TimeoutError, Fenced):
                await asyncio.wait_for(this.writer.flush(), 1.0)
        return SampleResult(outcome=stop.result(), reason=stop.result())


class Try:
    """One try at one turn."""

    def __init__(self, activity: SampleActivity, call: SampleInput, attempt: int) -> None:
        self._with = activity
        self._call = call
        self._attempt = attempt
        self._began = time.monotonic()
        self._progress = 0
        self._spent = 0
        self._extra = Usage()
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
        context, taken = await asyncio.gather(
            self._with.contexts.load(call.response_id, call.first_output_index),
            take_over(self._with.redis, call, self._fence, self._attempt, ttl=self._with.log_ttl_seconds),
        )
        offer = self._offer(context)
        assembler, writer = self._open(context, taken, offer)
        if taken.cancelled:
            return SampleResult(outcome="cancelled")
        if taken.turn_record is not None:
            return self._result(writer, orjson.loads(taken.turn_record))
        prefix = self._begin(context, assembler, writer, taken)
        finish = await self._stream(context, offer, assembler, writer, prefix)
        return await self._close(assembler, writer, finish)

    def _offer(self, context: Context) -> Offer:
        start = context.start
        lists = mcp_lists(context.conversation(context.output)) if start.has_mcp else {}
        return build_offer(
            start.request, start.hosted, self._with.definitions, lists, choice_spent=self._call.choice_spent
        )

    @property
    def _fence(self) -> int:
        return fence(self._call.epoch, self._attempt)

    def _open(self, context: Context, taken: Takeover, offer: Offer) -> tuple[Assembler, Writer]:
        fold = Fold(context.output)
        assembler = Assembler(fold, offer, self._call.response_id)
        self.writer = writer = Writer(
            self._with.appender,
            self._call.response_id,
            fence=self._fence,
            initial=context.start.initial(),
            base=self._call.first_sequence,
            fold=fold,
            earlier=self._earlier,
        )
        for event in taken.events:
            writer.adopt(event)
        return assembler, writer

    async def _earlier(self) -> Earlier:
        return await self._with.contexts.earlier(self._call.response_id, self._call.first_sequence)

    def _begin(self, context: Context, assembler: Assembler, writer: Writer, taken: Takeover) -> str | None:
        """Open the stream, or say what becomes of the half answer in the log. Returns the text to go on from."""
        call = self._call
        if not taken.events and call.first_sequence == 0:
            writer.write(opening_events(context.start.initial()))
            return None
        if len(assembler.fold.output) == call.first_output_index:
            return None
        prefix = assembler.unfinished_text()
        continues = prefix is not None and (not prefix or self._provider.resume != "none")
        action = "continued" if continues else "restarted"
        writer.write([_attempt_event(call, self._attempt, action)])
        if not continues:
            writer.write(assembler.abandon())
            return None
        # One delta is about one token: what is left of the budget can only be estimated after a crash.
        self._spent = sum(1 for event in taken.events if event["type"] == "response.output_text.delta")
        return prefix or None

    @property
    def _provider(self) -> Provider:
        provider = self._with.providers.get(self._call.provider)
        if provider is None:
            raise ServerError(f"provider {self._call.provider!r} is not configured on this worker")
        return provider

    async def _stream(
        self, context: Context, offer: Offer, assembler: Assembler, writer: Writer, prefix: str | None
    ) -> Finish:
        left = self._call.max_output_tokens
        if left is not None and self._spent >= left:
            return Finish("length")
        sample = compose_sample(self._with.middleware, lambda passed: self._provider.sample(passed.call))
        try:
            if prefix is None:
                await self._compact_if_due(context, offer, assembler, writer, sample)
            call = fitted(self._sample_call(context, offer, assembler, prefix), context.start.context_window)
            deltas = sample(self._sample_context(context, call))
            async with contextlib.aclosing(deltas) as stream:
                async for delta in stream:
                    if isinstance(delta, Finish):
                        return delta
                    self._progress += 1
                    writer.write(assembler.feed(delta))
                    if writer.cancelled.is_set():
                        self._with.running.cancel(self._call.response_id)
        except Halt as halt:
            return self._halted(halt, assembler, writer)
        raise ProviderStreamBroken("the provider's stream ended without saying why")

    def _sample_context(self, context: Context, call: SampleCall) -> SampleContext:
        return SampleContext(
            call=call,
            response_id=self._call.response_id,
            tenant=context.start.tenant,
            turn=self._call.turn,
            attempt=self._call.tries + self._attempt - 1,
            counters=self._with.counters,
        )

    async def _compact_if_due(
        self,
        context: Context,
        offer: Offer,
        assembler: Assembler,
        writer: Writer,
        sample: Callable[[SampleContext], AsyncGenerator[Delta, None]],
    ) -> None:
        """Put a summary into the output where the context has grown beyond the request's threshold."""
        threshold = context.start.request.compact_threshold
        if threshold is None:
            return
        call = self._sample_call(context, offer, assembler, None)
        if at_most(call.items) <= threshold or not is_due(call.items, threshold, item_tokens):
            return
        asking = fitted(summary_call(call), context.start.context_window)
        summary, self._extra = await summarize(sample, self._sample_context(context, asking))
        sealed = self._with.sealer.seal(summary.encode(), bound_to=owner(context.start.tenant))
        writer.write(assembler.add_whole(compaction_item(sealed)))

    def _unseal(self, tenant: str, sealed: str) -> str:
        try:
            return self._with.sealer.unseal(sealed, bound_to=owner(tenant)).decode()
        except SealBroken as error:
            raise ServerError(f"a compacted part of the conversation cannot be read: {error}") from error

    def _sample_call(self, context: Context, offer: Offer, assembler: Assembler, prefix: str | None) -> SampleCall:
        names = {(route.server_label, route.tool): name for name, route in offer.routes.items()}
        left = self._call.max_output_tokens
        items = as_model_reads(
            from_summary(
                context.conversation(assembler.fold.snapshot()),
                lambda sealed: self._unseal(context.start.tenant, sealed),
            ),
            lambda label, tool: tool if label == HOSTED_LABEL else names.get((label, tool), tool),
        )
        return SampleCall(
            model=self._call.upstream_model,
            items=items,
            request=context.start.request,
            tools=offer.functions,
            tool_choice=offer.choice,
            max_output_tokens=None if left is None else left - self._spent,
            prefix=prefix,
        )

    def _halted(self, halt: Halt, assembler: Assembler, writer: Writer) -> Finish:
        """A middleware ends the response: with its error, or with its own words as the last item."""
        if halt.error is not None:
            raise halt.error
        writer.write(assembler.abandon())
        writer.write(assembler.feed(TextDelta(halt.text or "")))
        return Finish("stop", Usage())

    async def _close(self, assembler: Assembler, writer: Writer, finish: Finish) -> SampleResult:
        if len(assembler.fold.output) == self._call.first_output_index and not assembler.has_calls:
            writer.write(assembler.feed(TextDelta("")))
        writer.write(assembler.close("incomplete" if finish.reason in ("length", "content_filter") else "completed"))
        usage = finish.usage
        spent = min(self._spent, usage.input_tokens)
        ended: JsonObject = {
            "finish_reason": finish.reason,
            "usage": TurnUsage(
                input_tokens=usage.input_tokens - spent + self._extra.input_tokens,
                output_tokens=usage.output_tokens + spent + self._extra.output_tokens,
                cached_tokens=usage.cached_tokens + self._extra.cached_tokens,
                reasoning_tokens=usage.reasoning_tokens + self._extra.reasoning_tokens,
                estimated=usage.estimated or self._extra.estimated,
            ).model_dump(),
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
        if self.writer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.writer.flush(), 30.0)
        if error.retryable and self._progress:
            return SampleResult(outcome="broken", reason=error.message)
        waited = time.time() - activity.info().scheduled_time.timestamp()
        raise to_application_error(error, seconds_left=self._call.retry_window - waited) from error


def _attempt_event(call: SampleInput, attempt: int, action: str) -> JsonObject:
    return {
        "type": "open_responses:attempt",
        "turn": call.turn,
        "attempt": call.tries + attempt - 1,
        "reason": call.lost or "retried",
        "action": action,
    }


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_HEARTBEAT_SECONDS)
