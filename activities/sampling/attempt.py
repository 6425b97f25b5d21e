"""Runs one attempt at one model turn: context, middleware, provider, assembler, log.

What this prevents: a gap or a repetition in the stream after a sample that died or ran twice. Every attempt first takes
the log over, so that no other attempt can write any more, and continues from exactly the last event.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import orjson
import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.errors import to_application_error
from activities.sampling.answer_meter import AnswerMeter
from activities.sampling.attempt_authority import authority_of_this_attempt
from activities.sampling.attempt_progress import AttemptProgress
from activities.sampling.attempt_state import AttemptState, SampleAttempt
from activities.sampling.budget import reserve
from activities.sampling.context import Context, HasEnded, mcp_lists
from activities.sampling.model_answer import ModelAnswer
from activities.sampling.resume import begin
from activities.sampling.trouble_report import report_failure
from open_responses.context.tokens import about_input
from open_responses.contracts import SampleCall
from open_responses.deltas import Finish, TextDelta, Usage
from open_responses.errors import OpenResponsesError, ProviderCircuitOpen, ServerError, TokenBudgetExceeded, Unavailable
from open_responses.events.assembler import CUT_OFF, Assembler
from open_responses.events.fold import Fold
from open_responses.io.log.encoding import item_field
from open_responses.io.log.fenced_log import FencedLog, fence_for_attempt
from open_responses.io.log.writer import AppendRefused, Earlier, Fenced, LogLost, Writer
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.outside_ends import OVERTAKEN
from open_responses.io.telemetry.activities import describe_request
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.sample import SampleResult
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.models.capabilities import has_client_tools
from open_responses.tool_use.built_in_calls import earlier_calls
from open_responses.tool_use.tool_table import build_tool_table

log = structlog.get_logger(__name__)

# The pause before the retry of a sample that an outage of Redis or Temporal ended. Temporal's own pauses double: the
# last one would go on for seconds after the outage, while a client waits.
_OUTAGE_RETRY_SECONDS = 1.0
# How long a provider that is down is retried where the route has another one.
_PATIENCE_WITH_FALLBACK_SECONDS = 10.0
# Redis may not answer. The result is safe in Temporal, and `finish` writes the log again.
_FLUSH_SECONDS = 30.0
_ENDED = "the response has ended"


class AttemptRun:
    """One attempt while it runs. `writer` is None until the log is fenced for it."""

    def __init__(self, attempt: SampleAttempt) -> None:
        self._attempt = attempt
        self._parts = attempt.parts
        self._call = attempt.call
        self._progress = AttemptProgress()
        self._authority = authority_of_this_attempt()
        self._server = attempt.parts.appender.server
        self.writer: Writer | None = None
        self._state: AttemptState | None = None
        self._prefix: str | None = None

    async def run(self) -> SampleResult:
        """Sample the model turn. Returns how it ended; raises ApplicationError for Temporal to retry or to give up."""
        try:
            return await self._run()
        except HasEnded:
            return SampleResult(outcome="cancelled", reason=_ENDED)
        except Fenced as fenced:
            if fenced.has_ended:
                return SampleResult(outcome="cancelled", reason=_ENDED)
            return SampleResult(outcome="fenced", reason="another worker took over", epoch_seen=fenced.epoch)
        except OpenResponsesError as error:
            return await self._failed(error)
        except AppendRefused as error:
            return await self._failed(ServerError(f"The event log rejects the events of this response: {error}"))
        except (*RedisDown, RPCError) as error:
            message = f"A part of the server cannot be reached: {error}."
            return await self._failed(Unavailable(message, retry_after=_OUTAGE_RETRY_SECONDS))
        except ApplicationError:
            raise
        except Exception as error:  # noqa: BLE001 - the activity's border
            message = f"The model turn failed unexpectedly: {type(error).__name__}."
            return await self._failed(ServerError(message), unexpected=error)

    async def _run(self) -> SampleResult:
        call = self._call
        context, found, wait = await asyncio.gather(
            self._parts.contexts.load(call.response_id, call.first_output_index),
            self._fence_log(),
            self._parts.breaker.ask(call.provider),
        )
        self._state = state = self._open(context, found)
        await self._list_agent(context.start)
        self._parts.prices.start_loading(call.provider, state.target.price)
        if call.fell_back and self._attempt.number == 1:
            metrics.fell_back(call.provider, context.start.request.model)
        if found.cancelled:
            return SampleResult(outcome="cancelled", usage=self.paid)
        if found.turn_record is not None:
            return await self._as_recorded(state, orjson.loads(found.turn_record))
        if wait:
            message = f"{call.provider} has failed repeatedly. The server sends it no request for {wait:.0f} seconds."
            raise ProviderCircuitOpen(message, retry_after=wait)
        beginning = begin(state, found)
        if beginning.is_kept:
            return await self._close(state, beginning.assembler, self._kept(state, beginning.sampled, found))
        self._prefix = beginning.sampled.prefix
        describe_request(self._attempt.span, state.context.start, _as_json(beginning.sampled))
        await self._reserve(state, beginning.sampled)
        finish = await ModelAnswer(state, beginning.assembler).stream(beginning.sampled)
        await self._parts.breaker.succeeded(call.provider)
        return await self._close(state, beginning.assembler, finish)

    def _kept(self, state: AttemptState, sampled: SampleCall, found: FencedLog) -> Finish:
        """The end of a model turn whose function calls are kept. What no provider has reported of it is estimated."""
        if state.progress.beside.input_tokens:
            return Finish("tool_calls", Usage())
        sent = about_input(sampled.items, sampled.request.instructions, sampled.tools)
        received = sum(1 for event in found.events if event["type"].endswith(".delta"))
        return Finish("tool_calls", Usage(input_tokens=sent, output_tokens=received, estimated=True))

    async def _reserve(self, state: AttemptState, sampled: SampleCall) -> None:
        try:
            await reserve(self._parts.quotas, state, sampled)
        except TokenBudgetExceeded as error:
            # The provider is not at fault, so another provider would fail in the same way.
            self._progress.halted_by = error
            raise

    async def _fence_log(self) -> FencedLog:
        ttl, attempt, authority = self._parts.log_ttl_seconds, self._attempt, self._authority
        return await fence_for_attempt(
            self._parts.redis, self._call, attempt.fence, attempt.number, ttl=ttl, authority=authority
        )

    async def _list_agent(self, start: StartResponse) -> None:
        """List an agent's response as open, as the API lists those that clients begin. No request began this one."""
        if start.agent_of is not None and self._call.tries == 1 and self._attempt.number == 1:
            with contextlib.suppress(*RedisDown):
                await self._parts.contexts.records.store.list_open(start)

    async def _as_recorded(self, state: AttemptState, ended: JsonObject) -> SampleResult:
        """The result of a turn that has ended: it was lost with its worker, or an operator has reset the run to it.

        Events that clients have read stay. If the stream has events after this turn, the response can only end.
        """
        if state.writer.next_sequence > ended.get("next_sequence", state.writer.next_sequence):
            await self._parts.contexts.records.outside_ends.write(state.context.start, OVERTAKEN, int(time.time()))
            return SampleResult(outcome="cancelled", reason=_ENDED)
        return self._result(state.writer, ended)

    @property
    def paid(self) -> TurnUsage:
        """The usage of the turn that the provider has reported, of all attempts so far."""
        if self._state is None:
            return self._call.paid
        return TurnUsage.of(self._progress.beside).at_least(self._call.paid)

    def stop(self) -> None:
        """Count the usage so far of an attempt that was stopped, unless its answer will be read again."""
        if self._state is not None and not self._progress.has_token:
            self._state.pay_reported()

    def _open(self, context: Context, found: FencedLog) -> AttemptState:
        """The state behind the turn's events in the log, which the writer adopts."""
        start = context.start
        fallback = self._call.fallback
        lists = mcp_lists(context.conversation(context.output)) if start.has_mcp else {}
        tool_table = build_tool_table(
            start.request,
            start.hosted,
            self._parts.definitions,
            lists,
            choice_spent=self._call.choice_spent,
            omitted=[*start.omitted_for(fallback).tools, *start.targets[fallback].run_here],
            items=context.items,
            is_native=has_client_tools(self._parts.adapters.get(self._call.provider, "")),
            built_in=start.built_ins_for(fallback),
            guarded=[tool.name for tool in start.built_in if tool.require_approval],
            earlier=earlier_calls(context.items, context.output),
        )
        self._log_omitted(start)
        fold = Fold(context.output)
        self.writer = writer = Writer(
            self._parts.appender,
            self._call.response_id,
            fence=self._attempt.fence,
            initial=start.initial(),
            base=self._call.first_sequence,
            fold=fold,
            earlier=self._earlier,
            life=found.life,
            authority=self._authority,
            server=self._server,
        )
        for event in found.events:
            writer.adopt(event)
        left = fold.snapshot()[self._call.first_output_index :] if found.events else []
        meter = AnswerMeter(self._parts.bounds, before=self._call.produced, size=sum(map(len, map(orjson.dumps, left))))
        return AttemptState(self._attempt, context, tool_table, writer, meter, self._progress)

    def _log_omitted(self, start: StartResponse) -> None:
        """The API has logged what the route's own provider lacks."""
        omitted = start.omitted_for(self._call.fallback)
        if omitted and self._call.fell_back:
            names = omitted.names(start.request)
            log.info("request_narrowed", response_id=start.response_id, provider=self._call.provider, omitted=names)

    async def _earlier(self) -> Earlier:
        return await self._parts.contexts.earlier(self._call.response_id, self._call.first_sequence)

    # --- the end of the turn

    async def _close(self, state: AttemptState, assembler: Assembler, finish: Finish) -> SampleResult:
        writer, progress, first = state.writer, state.progress, self._call.first_output_index
        writer.write(assembler.feed(finish))
        if len(writer.fold.output) == first and not assembler.has_calls:
            writer.write(assembler.feed(TextDelta("")))
        writer.write(assembler.close("incomplete" if finish.reason in CUT_OFF else "completed"))
        usage = finish.usage
        spent = min(progress.spent, usage.input_tokens)
        usage = replace(usage, input_tokens=usage.input_tokens - spent, output_tokens=usage.output_tokens + spent)
        usage = state.priced(usage)
        ended: JsonObject = {
            "finish_reason": finish.reason,
            "usage": TurnUsage.of(usage.plus(progress.beside)).model_dump(),
            "produced": state.meter.size,
            "incomplete_reason": progress.excess,
            "next_sequence": writer.next_sequence,
            **({"reported": finish.reported} if finish.reported else {}),
        }
        items = {item_field(first + i): orjson.dumps(item) for i, item in enumerate(writer.fold.output[first:])}
        writer.record({f"turn:{self._call.turn}": orjson.dumps(ended), **items})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await writer.flush()
        used, asked = TurnUsage.model_validate(ended["usage"]), state.context.start
        metrics.model_turn_ended(
            self._call.provider, asked.request.model, self._call.upstream_model, asked.tenant, used
        )
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
            reported=ended.get("reported"),
            first_token_at=self._progress.first_token_at,
        )

    async def _failed(self, error: OpenResponsesError, *, unexpected: Exception | None = None) -> SampleResult:
        """Decide what follows a failed attempt: another attempt at once, Temporal's back-off, or the response's
        failure."""
        progress, call = self._progress, self._call
        log.log(
            logging.WARNING if unexpected is None else logging.ERROR,
            "sample_failed",
            response_id=call.response_id,
            provider=call.provider,
            model=call.upstream_model,
            turn=call.turn,
            attempt=self._attempt.number_in_turn,
            code=error.error_code,
            progress=progress.deltas,
            **({"events": list(progress.unread)} if progress.unread else {}),
            exc_info=unexpected,
        )
        is_halted = progress.halted_by is not None
        if not isinstance(error, ProviderCircuitOpen) and not is_halted:
            await self._parts.breaker.failed(self._call.provider, error)
        if self.writer is not None:
            has_lost_answer = progress.has_lost_answer(error)
            if has_lost_answer:
                self.writer.record({f"resume:{self._call.turn}": b""})
            if self._state is not None and (has_lost_answer or not progress.has_token or not error.retryable):
                await self._state.prices_ready()
                self._state.pay_reported()
            with contextlib.suppress(TimeoutError, LogLost):
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await self.writer.flush()
        broke_at = progress.broke_at(error, self._prefix) if progress.halted_by is None else None
        if broke_at is not None or progress.goes_on_at_once(error):
            return SampleResult(
                outcome="broken",
                reason=error.message,
                usage=self.paid,
                broke_at=broke_at,
                code=error.error_code,
                made_progress=progress.has_content,
                first_token_at=progress.first_token_at,
            )
        seconds_left = 0.0 if is_halted else self._seconds_left(error)
        failure = to_application_error(
            error,
            seconds_left=seconds_left,
            # With a fallback, the turn passes to the next provider at the end of the window, and not one back-off
            # later.
            longest_pause=seconds_left if self._call.has_fallback else None,
            attempt=self._attempt.number,
            final=is_halted,
            paid=self.paid,
        )
        await report_failure(self._call, failure, self._attempt.number)
        raise failure from error

    def _seconds_left(self, error: OpenResponsesError) -> float:
        """The seconds for which further attempts at this provider are allowed."""
        window = self._call.retry_window
        if self._call.has_fallback:
            window = 0 if isinstance(error, ProviderCircuitOpen) else min(window, _PATIENCE_WITH_FALLBACK_SECONDS)
        return window - (time.time() - activity.info().scheduled_time.timestamp())


def _as_json(sampled: SampleCall) -> Iterator[JsonObject]:
    return (item.model_dump(mode="json", exclude_unset=True) for item in sampled.items)
