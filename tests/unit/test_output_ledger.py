"""Progress events that a repeated workflow task puts in front of what its first run published are taken out again."""

from __future__ import annotations

import pytest

from open_responses.events.trace import replay_trace
from open_responses.json_types import JsonObject
from open_responses.loop.output_ledger import PROGRESS, OutputLedger, Unpublished
from open_responses.tool_use.tool_items import function_call_output, mcp_call


def with_two_calls() -> OutputLedger:
    """A ledger whose log has the beginning of two calls' outputs."""
    ledger = OutputLedger()
    for call_id in ("call_a", "call_b"):
        ledger.add(function_call_output("resp_1", len(ledger.output), call_id))
    assert ledger.take() is not None
    return ledger


def settled() -> tuple[OutputLedger, list[JsonObject]]:
    """The ledger of a first run, which published the first call's result, and its events in the log."""
    ledger = with_two_calls()
    ledger.settle(0, output="sunny", status="completed")
    taken = ledger.take()
    assert taken is not None
    return ledger, taken.events


def repeated(*, later: bool = False) -> tuple[OutputLedger, Unpublished]:
    """The ledger of the repeated task: a progress event of the second call arrived in the meantime."""
    ledger = with_two_calls()
    ledger.add_event(PROGRESS, 1, message="half way")
    ledger.settle(0, output="sunny", status="completed")
    taken = ledger.take()
    assert taken is not None
    if later:
        ledger.settle(1, output="windy", status="completed")
    return ledger, taken


def test_progress_before_a_published_result_goes_and_the_ledger_is_the_first_runs() -> None:
    first, there = settled()
    ledger, taken = repeated()
    assert ledger.drop_progress(taken, there)
    assert (ledger.trace, ledger.length, ledger.output) == (first.trace, first.length, first.output)


def test_what_is_left_is_published_again_with_its_items() -> None:
    _, there = settled()
    ledger, taken = repeated(later=True)
    assert ledger.drop_progress(taken, there)
    again = ledger.take()
    assert again is not None
    assert (again.first_sequence, again.first_op) == (taken.first_sequence, taken.first_op)
    assert again.events[: len(there)] == there
    assert [event["output_index"] for event in again.events] == [0, 1]
    assert again.items == {0: ledger.output[0], 1: ledger.output[1]}


def test_progress_behind_what_the_log_has_stays() -> None:
    _, there = settled()
    ledger, taken = repeated()
    ledger.add_event(PROGRESS, 1, message="nearly")
    assert ledger.drop_progress(taken, there)
    again = ledger.take()
    assert again is not None
    assert [event.get("message") for event in again.events] == [None, "nearly"]


def test_another_event_in_the_log_changes_nothing() -> None:
    _, there = settled()
    ledger, taken = repeated()
    trace, length = list(ledger.trace), ledger.length
    otherwise = [{**there[0], "item": {**there[0]["item"], "output": "rainy"}}]
    assert not ledger.drop_progress(taken, otherwise)
    assert (ledger.trace, ledger.length, ledger.take()) == (trace, length, None)


def test_a_log_that_agrees_has_nothing_to_remove() -> None:
    """Else the same events would be published again and again."""
    ledger, taken = repeated()
    assert not ledger.drop_progress(taken, taken.events)
    assert not ledger.drop_progress(taken, [])


def test_the_parts_of_an_mcp_result_are_in_no_event_before_its_end_and_come_back_from_the_trace() -> None:
    ledger = OutputLedger()
    ledger.open_stream({"id": "resp_1", "status": "in_progress", "output": []})
    index = ledger.add_whole_call(mcp_call("mcp_1", "art", "draw", "{}"))
    parts: list[JsonObject] = [{"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "auto"}]
    ledger.settle_call(index, output="[image]", error=None, parts=parts)
    taken = ledger.take()
    assert taken is not None
    assert [event["item"].get("output_parts") for event in taken.events if "item" in event] == [None, parts]
    initial = {"id": "resp_1", "status": "in_progress", "output": []}
    again = [
        {k: v for k, v in event.items() if k != "sequence_number"}
        for event in replay_trace(ledger.trace, ledger.output, initial)
    ]
    assert again == taken.events


@pytest.mark.parametrize(
    ("begun", "ended"),
    [
        ({"type": "program_output", "id": "prog_1", "call_id": "c", "result": "", "status": "in_progress"}, "result"),
        ({"type": "of_another_vendor", "id": "item_1", "text": "", "status": "in_progress"}, "text"),
    ],
)
def test_an_item_that_ends_with_other_members_than_it_began_with_comes_back_as_it_was_sent(
    begun: JsonObject, ended: str
) -> None:
    ledger = OutputLedger()
    ledger.settle(ledger.add(begun), status="completed", **{ended: "42"})
    taken = ledger.take()
    assert taken is not None
    assert [event["item"][ended] for event in taken.events] == ["", "42"]
    sent = [{**event, "sequence_number": number} for number, event in enumerate(taken.events)]
    assert list(replay_trace(ledger.trace, ledger.output, {})) == sent
