"""One model turn: attempts, pauses and fallbacks until there is a complete answer.

What this prevents: a stream that always breaks and is sampled without end, and a response that waits for a provider
that is down while another provider could answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads.sample import ProviderTrouble, SampleInput, SampleResult
    from open_responses.loop.payloads.usage import TurnUsage
    from workflows import calls, search_attributes
    from workflows.failures import failure, paid_in, provider_is_down
    from workflows.hosted_call import until_stopped
    from workflows.patches import patched
    from workflows.state import ResponseState

# After this many broken streams, the turn fails, even if each attempt streamed some text.
_MAX_ATTEMPTS_PER_TURN = 100
# A broken stream is continued at once: this often before the next provider gets the turn, if the route has one, and
# this often before a pause.
_BREAKS_BEFORE_FALLBACK = 3
_BREAKS_AT_ONCE = 5
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(slots=True)
class ModelTurn:
    """The attempts at one model turn.

    `lost` is why the last one did not end, `breaks` counts the broken streams of this provider, `broke_at` is a digest
    of where the last one broke, `fell_back`: the last attempt was another provider's, `had_fallback`: it began while
    there was a fallback.
    """

    state: ResponseState
    began: datetime
    lost: str | None = None
    breaks: int = 0
    broke_at: str | None = None
    code: str = "provider_stream_broken"
    fell_back: bool = False
    had_fallback: bool = False

    async def sample(self) -> SampleResult | None:
        """Sample until an answer is complete. Returns None if the response was stopped.

        An attempt that ended early is followed by another at once, under the next epoch. Temporal's own retry would
        wait for a second; it serves providers that ask for a pause.

        Raises ActivityError if no provider completes the turn.
        """
        for tries in range(1, _MAX_ATTEMPTS_PER_TURN + 1):
            try:
                result = await self._attempt(tries)
            except ActivityError as error:
                self.state.paid = self.state.paid.at_least(paid_in(error))
                if not provider_is_down(error):
                    raise
                if self.state.may_fall_back:
                    self._fall_back(failure(error).error_message)
                    continue
                if not self.had_fallback:
                    raise
                # The attempt gave its provider up early. Meanwhile the user added what no fallback can take.
                self.lost = failure(error).error_message
                continue
            if result is not None and result.outcome == "done":
                return result
            if result is not None:
                self.state.paid = self.state.paid.at_least(result.usage)
            if result is None or result.outcome == "cancelled":
                return None
            # After an operator's reset, the log has the epochs of an earlier run, which are higher.
            self.state.epoch = max(self.state.epoch, result.epoch_seen)
            self.lost = result.reason or result.outcome
            self.fell_back = False
            if result.outcome == "broken" and not await self._may_go_on(result):
                break
        self.state.cut_off = True
        raise _given_up(self.lost, self.code)

    async def _attempt(self, tries: int) -> SampleResult | None:
        state = self.state
        state.next_epoch()
        state.attempts += 1
        state.show("sampling" if self.lost is None else f"sampling again ({self.lost})")
        if state.is_stopping():
            state.cut_off = True
            return None
        state.sampled_epoch = state.epoch
        self.had_fallback = state.may_fall_back
        try:
            result = await until_stopped(
                calls.start_sample(self._input(tries)), state.is_stopping, repeats_alike=state.start.repeats_alike
            )
        except ActivityError as error:
            state.sample_ended()
            state.cut_off = True
            if isinstance(error.cause, CancelledError):
                return None
            raise
        state.sample_ended()
        state.cut_off = result is None or result.outcome == "cancelled"
        if state.first_token_at is None and result is not None:
            state.first_token_at = result.first_token_at
        return result

    async def _may_go_on(self, result: SampleResult) -> bool:
        """Decide about a stream that broke: go on at once, with the next provider, or after a pause.

        False if the turn took too long, or the stream broke exactly as the one before it: each attempt is paid for, and
        the next one would break there as well.
        """
        self.breaks += 1
        self.code = result.code or self.code
        if result.broke_at is not None and patched("the-same-break-twice"):
            if result.broke_at == self.broke_at:
                if not self.state.may_fall_back:
                    return False
                self._fall_back(self.lost)
                return True
            self.broke_at = result.broke_at
            if not result.made_progress:
                await self._pause()
        if self.breaks >= _BREAKS_BEFORE_FALLBACK and self.state.may_fall_back:
            self._fall_back(self.lost)
        elif self.breaks >= _BREAKS_AT_ONCE:
            if (workflow.now() - self.began).total_seconds() > self.state.start.retry_window:
                return False
            await self._pause()
        return True

    def _fall_back(self, reason: str | None) -> None:
        """Go on with the next provider, for the rest of the response."""
        following = self.state.next_fallback
        assert following is not None, "the caller has looked"
        self.state.fallback = following
        self.state.cut_off = False
        search_attributes.show_provider(self.state.start, self.state.target.provider)
        self.lost, self.breaks, self.broke_at, self.fell_back = reason, 0, None, True

    async def _pause(self) -> None:
        """Give a provider that breaks its streams again and again time to recover."""
        seconds = min(_LONGEST_PAUSE_SECONDS, 2.0 ** max(0, self.breaks - _BREAKS_AT_ONCE))
        state = self.state
        state.note_trouble(
            ProviderTrouble(
                epoch=state.epoch,
                provider=state.target.provider,
                code=self.code,
                message=self.lost or "",
                next_at=workflow.now().timestamp() + seconds,
            )
        )
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(state.is_stopping, timeout=timedelta(seconds=seconds))
        state.sample_ended()

    def _input(self, tries: int) -> SampleInput:
        state, target = self.state, self.state.target
        return SampleInput(
            response_id=state.start.response_id,
            turn=state.turn,
            epoch=state.epoch,
            provider=target.provider,
            upstream_model=target.upstream_model,
            context_window=target.context_window,
            fallback=state.fallback,
            has_fallback=self.had_fallback,
            fell_back=self.fell_back,
            used=state.usage or TurnUsage(),
            paid=state.paid,
            produced=state.produced,
            retry_window=state.start.retry_window,
            first_sequence=state.output_ledger.length,
            first_output_index=len(state.output_ledger.output),
            max_output_tokens=state.tokens_left(),
            choice_spent=state.choice_spent,
            tries=tries,
            lost=self.lost,
            request_id=state.start.request_id,
            traceparent=state.start.traceparent,
        )


def _given_up(lost: str | None, code: str) -> ActivityError:
    message = f"the provider's stream broke again and again; the last time: {lost}"
    error = ActivityError(
        message,
        scheduled_event_id=0,
        started_event_id=0,
        identity="",
        activity_type="sample",
        activity_id="",
        retry_state=None,
    )
    error.__cause__ = ApplicationError(message, type=code)
    return error
