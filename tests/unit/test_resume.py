"""Where an attempt begins behind a lost one's partial answer, and what its provider gets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from activities.sampling import attempt_state
from activities.sampling.attempt_progress import AttemptProgress
from activities.sampling.attempt_state import AttemptState
from activities.sampling.resume import begin
from open_responses.contracts import SampleCall
from open_responses.deltas import TextDelta
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.io.log.fenced_log import FencedLog
from open_responses.loop.payloads import TurnUsage
from open_responses.schema.requests import validate_create_response
from open_responses.tool_use.tool_table import ToolTable

REQUEST = validate_create_response({"model": "m", "input": "x"})


def behind_a_partial_answer(resume: str) -> tuple[AttemptState, FencedLog]:
    """An attempt with a budget of 100 tokens. The one before it wrote three deltas."""
    assembler = Assembler(Fold(), response_id="resp_1")
    events = [event for text in ("one ", "two ", "three") for event in assembler.feed(TextDelta(text))]
    fold = Fold()
    for event in events:
        fold.apply(event)
    call = SimpleNamespace(
        paid=TurnUsage(), first_sequence=1, first_output_index=0, fell_back=False, fallback=0, response_id="resp_1",
        max_output_tokens=100, turn=0, provider="p", lost=None,
    )  # fmt: skip
    attempt = SimpleNamespace(
        call=call,
        number_in_turn=2,
        provider=SimpleNamespace(resume_of=lambda _: resume),
        parts=SimpleNamespace(sealer=None, adapters={}),
    )
    writer = SimpleNamespace(fold=fold, write=lambda written: [fold.apply(e) for e in written if "item" in e])
    parts: dict[str, Any] = {"context": None, "meter": None, "tool_table": ToolTable(), "progress": AttemptProgress()}
    return AttemptState(attempt=cast(Any, attempt), writer=cast(Any, writer), **parts), FencedLog(events)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[SampleCall]:
    """The calls that were built. Each takes the whole conversation through the transcript."""
    calls: list[SampleCall] = []

    def build(*_: object, max_output_tokens: int | None, goes_on: bool) -> SampleCall:
        calls.append(SampleCall("m", [], REQUEST, max_output_tokens=max_output_tokens))
        return calls[-1]

    monkeypatch.setattr(attempt_state, "build_call", build)
    return calls


def test_the_call_that_continues_an_answer_is_built_once(built: list[SampleCall]) -> None:
    beginning = begin(*behind_a_partial_answer("prefill"))
    assert len(built) == 1
    assert beginning.sampled.prefix == "one two three"
    assert beginning.sampled.max_output_tokens == 100 - 3


def test_an_answer_that_begins_anew_has_the_whole_budget(built: list[SampleCall]) -> None:
    beginning = begin(*behind_a_partial_answer("none"))
    assert beginning.sampled.prefix is None
    assert beginning.sampled.max_output_tokens == 100
