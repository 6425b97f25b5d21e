"""Decides where a sampling attempt begins: with its model turn, or behind a lost attempt's partial answer.

What this prevents: repeated text, and its cost, where the provider could continue the answer (design: a retry after
half an answer was streamed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import orjson

from activities.sampling.attempt_state import ATTEMPT, AttemptState
from open_responses.contracts import SampleCall
from open_responses.deltas import TextDelta
from open_responses.events.assembler import Assembler
from open_responses.events.lifecycle import opening_events
from open_responses.events.resumed_assembler import ResumedAssembler
from open_responses.io.log.fenced_log import FencedLog, paid_before
from open_responses.json_types import JsonObject
from open_responses.schema.items import OUTPUT_TYPE_OF, OUTPUT_TYPES


@dataclass(frozen=True, slots=True)
class Beginning:
    """The call to send to the provider, and the assembler that turns its answer into events.

    `is_kept`: the lost attempt left whole function calls, which end the model turn. Nothing is sent.
    """

    sampled: SampleCall
    assembler: Assembler
    is_kept: bool = False


def begin(state: AttemptState, found: FencedLog) -> Beginning:
    """Open the stream, or decide about the partial answer in the log and publish the decision.

    Raises ServerError for what this worker cannot unseal, or a provider that it does not know.
    """
    call, fold = state.attempt.call, state.writer.fold
    state.progress.beside = paid_before(call.paid, found)
    if not found.events and call.first_sequence == 0:
        state.writer.write(opening_events(state.context.start.initial()))
    if len(fold.output) > call.first_output_index:
        return _go_on(state, found)
    if call.fell_back and not any(event["type"] == ATTEMPT for event in found.events):
        state.write_attempt_event("fallback")
    sampled = state.sample_call()
    return _read_again(state, found, sampled) or Beginning(sampled, _assembler(state))


def _go_on(state: AttemptState, found: FencedLog) -> Beginning:
    """Behind a partial answer: `resumed` reads it again, `kept` ends the model turn with the function calls that the
    answer has, `continued` extends its text, `restarted` gives it up.

    A model that gets a new request after its own calls makes the calls once more, and the tools would run twice.
    """
    sampled, fold = state.sample_call(goes_on=True), state.writer.fold
    reading = _read_again(state, found, sampled)
    if reading is not None:
        state.write_attempt_event("resumed")
        return reading
    assembler = _assembler(state)
    if _has_whole_call(fold.output[state.attempt.call.first_output_index :]):
        state.write_attempt_event("kept")
        state.writer.write(assembler.abandon())
        return Beginning(sampled, assembler, is_kept=True)
    prefix = assembler.unfinished_text()
    cannot = state.attempt.provider.resume_of(sampled) in ("none", "background") or state.attempt.call.fallback
    if prefix is None or (prefix and cannot):
        state.write_attempt_event("restarted")
        _give_up(state, assembler)
        # The call changes: the reasoning of the abandoned answer is not sent again.
        return Beginning(state.sample_call(), assembler)
    # One delta is about one token. After a crash, the rest of the budget can only be estimated.
    state.progress.spent = sum(1 for event in found.events if event["type"] == "response.output_text.delta")
    state.write_attempt_event("continued")
    return Beginning(replace(sampled, prefix=prefix or None, max_output_tokens=state.max_output_tokens), assembler)


def _has_whole_call(items: Sequence[JsonObject]) -> bool:
    """Whether a complete call waits for its output. A call that the provider runs itself has no id, or its output."""
    # An `mcp_call` is open until it has run, and is abandoned with the attempt.
    answered = {item.get("call_id") for item in items if item["type"] in OUTPUT_TYPES}
    whole = [item for item in items if item["type"] in OUTPUT_TYPE_OF and item["status"] == "completed"]
    return any(item.get("call_id") not in (None, *answered) for item in whole)


def _give_up(state: AttemptState, assembler: Assembler) -> None:
    """Close the items of the lost attempt. After reasoning alone, an empty incomplete message shows the break."""
    if not assembler.fold.open and assembler.fold.output[-1]["type"] == "reasoning":
        state.writer.write(assembler.feed(TextDelta("")))
    state.writer.write(assembler.abandon())


def _read_again(state: AttemptState, found: FencedLog, sampled: SampleCall) -> Beginning | None:
    """Read from its beginning the answer that the provider is already generating; None if there is none.

    This applies before the first text as well, because the provider may have been reasoning for minutes.
    """
    attempt = state.attempt
    if found.resume is None or attempt.provider.resume_of(sampled) != "background":
        return None
    token = orjson.loads(found.resume)
    if token["fallback"] != attempt.call.fallback:
        return None
    state.progress.has_token = state.progress.is_read_again = True
    # The provider sends what is in the log once more, and the meter counts it then.
    state.meter.size = 0
    first, fold = token["output_index"], state.writer.fold
    logged = [event for event in found.events if event.get("output_index", -1) >= first]
    assembler = ResumedAssembler(
        fold, state.tool_table, attempt.call.response_id, before=fold.output[:first], logged=logged
    )
    return Beginning(replace(sampled, resume_token=token["token"]), assembler)


def _assembler(state: AttemptState) -> Assembler:
    return Assembler(state.writer.fold, state.tool_table, state.attempt.call.response_id)
