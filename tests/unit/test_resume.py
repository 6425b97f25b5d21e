"""Where an attempt begins behind a lost one's partial answer, and what its provider gets."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from activities.sampling import attempt_state
from activities.sampling.attempt_progress import AttemptProgress
from activities.sampling.attempt_state import AttemptState
from activities.sampling.resume import begin
from open_responses.contracts import SampleCall
from open_responses.deltas import ProviderItem, TextDelta, ToolCallDelta
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.io.log.fenced_log import FencedLog
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.usage import TurnUsage
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


@pytest.mark.parametrize("is_behind_text", [True, False])
def test_whole_calls_of_a_lost_attempt_end_the_turn_and_are_not_made_again(
    built: list[SampleCall], is_behind_text: bool
) -> None:
    """The attempt's record of the turn was lost with Redis; readers had its events."""
    state, _ = behind_a_partial_answer("prefill")
    assembler = Assembler(Fold(), response_id="resp_1")
    deltas = [*([TextDelta("one ")] if is_behind_text else []), ToolCallDelta(0, "{}", "call_a", "get_weather")]
    events = [event for delta in deltas for event in assembler.feed(delta)] + assembler.close("completed")
    fold, actions = Fold(), list[str]()
    for event in events:
        fold.apply(event)

    def write(written: list[JsonObject]) -> None:
        actions.extend(event["action"] for event in written if "action" in event)

    beginning = begin(replace(state, writer=cast(Any, SimpleNamespace(fold=fold, write=write))), FencedLog(events))
    assert (beginning.is_kept, actions) == (True, ["kept"])
    assert beginning.assembler.close("completed") == []
    assert [item["status"] for item in fold.output] == ["completed"] * len(deltas)


SEARCH = {"type": "tool_search_call", "execution": "server", "call_id": None, "arguments": {}}
IN_A_CONTAINER = [
    {"type": "shell_call", "call_id": "c1", "action": {"commands": ["ls"]}},
    {"type": "shell_call_output", "call_id": "c1", "output": []},
]


@pytest.mark.parametrize(("items", "kept"), [([SEARCH], False), (IN_A_CONTAINER, False), (IN_A_CONTAINER[:1], True)])
def test_calls_that_the_provider_runs_do_not_end_the_turn(
    built: list[SampleCall], items: list[JsonObject], kept: bool
) -> None:
    state, _ = behind_a_partial_answer("none")
    assembler = Assembler(Fold(), response_id="resp_1")
    events = [event for item in items for event in assembler.feed(ProviderItem(item))]
    fold = Fold()
    for event in events:
        fold.apply(event)
    writer = SimpleNamespace(fold=fold, write=lambda _: None)
    assert begin(replace(state, writer=cast(Any, writer)), FencedLog(events)).is_kept == kept
