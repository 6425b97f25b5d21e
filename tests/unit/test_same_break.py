"""Two attempts that broke in the same place, with the same text, are known by their digest."""

from __future__ import annotations

import pytest

from activities.sampling.attempt_progress import AttemptProgress
from open_responses.deltas import Delta, ReasoningDelta, ReasoningSeal, TextDelta, ToolCallDelta
from open_responses.errors import (
    OpenResponsesError,
    ProviderHungUp,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)

BROKEN = ProviderStreamBroken("broke")


def digest(*deltas: Delta, prefix: str | None = None, error: OpenResponsesError = BROKEN) -> str | None:
    progress = AttemptProgress()
    for delta in deltas:
        progress.read(delta)
    return progress.broke_at(error, prefix)


def test_the_same_text_is_the_same_however_it_is_cut_and_sealed() -> None:
    one = digest(ReasoningDelta("so"), ReasoningSeal("a"), TextDelta("Hel"), TextDelta("lo"))
    other = digest(ReasoningDelta("s"), ReasoningDelta("o"), ReasoningSeal("b"), TextDelta(""), TextDelta("Hello"))
    assert one is not None
    assert one == other
    call = digest(ToolCallDelta(0, "", "call_1", "f"), ToolCallDelta(0, '{"a":'))
    assert call == digest(ToolCallDelta(0, '{"a', "call_2", "f"), ToolCallDelta(0, '":'))


def test_another_text_place_kind_or_error_is_another_break() -> None:
    found = [
        digest(TextDelta("Hello")),
        digest(TextDelta("Hello!")),
        digest(ReasoningDelta("Hello")),
        digest(TextDelta("Hello"), prefix="x"),
        digest(prefix="Hello"),
        digest(prefix="Hello!"),
        digest(TextDelta("Hello"), error=ProviderTimeout("silent")),
        digest(TextDelta("Hello"), error=ProviderUnavailable("overloaded")),
    ]
    assert None not in found
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "error",
    [ProviderHungUp("not reached"), ProviderRateLimited("wait"), ProviderRejected("no")],
)
def test_what_says_nothing_of_the_answer_is_no_break_of_it(error: OpenResponsesError) -> None:
    assert digest(TextDelta("Hello"), prefix="x", error=error) is None


def test_an_answer_that_has_not_begun_may_be_waited_for() -> None:
    assert digest() is None
    assert digest(TextDelta("")) is None
    assert digest(prefix="Hello", error=ProviderUnavailable("restarting")) is None
