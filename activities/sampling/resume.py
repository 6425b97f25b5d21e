"""Where a turn stands, and how it goes on: from its beginning, or from the half answer that a lost try left in the log.

What this prevents: a repeat, and a bill for one, where the provider could go on (design: a retry after half an answer
was streamed).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from activities.sampling.attempt_progress import Headway
from activities.sampling.attempt_state import ATTEMPT, Stage
from open_responses.contracts import SampleCall
from open_responses.deltas import TextDelta
from open_responses.events.lifecycle import opening_events
from open_responses.events.resumed_assembler import Rereading
from open_responses.io.log.takeover import Takeover, paid_before


@dataclass(frozen=True, slots=True)
class Continuation:
    """One try's view of the tries before it."""

    stage: Stage
    taken: Takeover
    headway: Headway

    def begin(self) -> SampleCall:
        """Open the stream, or say what becomes of the half answer in the log; and the call to go on with."""
        stage, taken = self.stage, self.taken
        stage.beside = paid_before(stage.call.paid, taken)
        if not taken.events and stage.call.first_sequence == 0:
            stage.writer.write(opening_events(stage.context.start.initial()))
        if len(stage.assembler.fold.output) > stage.call.first_output_index:
            return self._go_on()
        if stage.call.fell_back and not any(event["type"] == ATTEMPT for event in taken.events):
            stage.tell_attempt("fallback")
        sampled = stage.sample_call()
        return self._read_again(sampled) or sampled

    def _go_on(self) -> SampleCall:
        action, sampled = self._decide()
        self.stage.tell_attempt(action)
        if sampled is not None:
            return sampled
        self._give_up()
        return self.stage.sample_call()

    def _decide(self) -> tuple[str, SampleCall | None]:
        """`continued` or `resumed`, with the call that does it; `restarted`, with none."""
        stage = self.stage
        sampled = stage.sample_call(goes_on=True)
        reading = self._read_again(sampled)
        if reading is not None:
            return "resumed", reading
        prefix = stage.assembler.unfinished_text()
        cannot = stage.provider.resume_of(sampled) in ("none", "background") or stage.call.fallback
        if prefix is None or (prefix and cannot):
            return "restarted", None
        # One delta is about one token: what is left of the budget can only be estimated after a crash.
        stage.spent = sum(1 for event in self.taken.events if event["type"] == "response.output_text.delta")
        return "continued", stage.sample_call(prefix or None, goes_on=True)

    def _give_up(self) -> None:
        """Close what the lost try left. Behind a thought that led to nothing, a half message of no words says so."""
        assembler, writer = self.stage.assembler, self.stage.writer
        if not assembler.fold.open and assembler.fold.output[-1]["type"] == "reasoning":
            writer.write(assembler.feed(TextDelta("")))
        writer.write(assembler.abandon())

    def _read_again(self, sampled: SampleCall) -> SampleCall | None:
        """The answer that the provider has begun already, from its beginning; before its first word, too: it may be
        thinking for minutes. None where there is none."""
        stage = self.stage
        if self.taken.resume is None or stage.provider.resume_of(sampled) != "background":
            return None
        token = orjson.loads(self.taken.resume)
        if token["fallback"] != stage.call.fallback:
            return None
        self.headway.has_token = self.headway.is_read_again = True
        # What is in the log comes once more, and is counted then.
        stage.meter.size = 0
        stage.assembler = self._rereading(token["output_index"])
        return replace(sampled, resume_token=token["token"])

    def _rereading(self, first: int) -> Rereading:
        stage = self.stage
        logged = [event for event in self.taken.events if event.get("output_index", -1) >= first]
        fold = stage.assembler.fold
        return Rereading(fold, stage.offer, stage.call.response_id, before=fold.output[:first], logged=logged)
