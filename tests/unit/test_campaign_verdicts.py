"""The judge of a campaign: each way in which an answer can be broken gets its own verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns.answers import LONGEST_SILENCE_SECONDS, Answer, Misfit, Verdict, check_stream
from tests.campaigns.effects import check_context, check_conversation, check_effects
from tests.campaigns.report import FaultRun, Report
from tests.support.fake_upstream import Script
from tests.support.stack import Event

WORDS = 5


def answer_of(*words: str, status: str = "completed", kind: str = "stream", **fields: Any) -> Answer:
    """An answer whose stream has these words."""
    text = "".join(f"{word} " for word in words)
    item = {"id": "msg_1", "type": "message", "status": "completed", "content": [{"type": "output_text", "text": text}]}
    error = {"code": "terminated", "message": "…"} if status == "failed" else None
    response = {"id": "resp_1", "status": status, "output": [item], "error": error, "incomplete_details": None}
    terminal = "response.completed" if status == "completed" else "response.failed"
    events: list[Event] = [
        {"type": "response.created", "response": {"id": "resp_1"}},
        *({"type": "response.output_text.delta", "item_id": "msg_1", "delta": f"{word} "} for word in words),
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": terminal, "response": response},
    ]
    for number, event in enumerate(events):
        event["sequence_number"] = number
    answer = Answer(kind, "p?", "t", Script(tag="t", words=WORDS), {}, **fields)
    answer.events, answer.response = events, response
    return answer


def whole(**fields: Any) -> Answer:
    return answer_of(*(f"t.1.{i}" for i in range(WORDS)), **fields)


def test_a_whole_answer_is_accepted() -> None:
    assert check_stream(whole())["status"] == "completed"


def test_a_whole_answer_that_only_a_missed_heartbeat_saved_counts_as_hung() -> None:
    assert check_stream(whole(silences=[(0.0, LONGEST_SILENCE_SECONDS)]))["status"] == "completed"
    with pytest.raises(Misfit) as misfit:
        check_stream(whole(silences=[(0.0, 14.0), (20.0, 81.0)]))
    assert misfit.value.verdict == Verdict.HUNG


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (("t.1.0", "t.1.1", "t.1.3", "t.1.4"), Verdict.LOST),
        (("t.1.0", "t.1.1", "t.1.2", "t.1.3"), Verdict.LOST),
        (("t.1.0", "t.1.1", "t.1.1", "t.1.2", "t.1.3", "t.1.4"), Verdict.DOUBLED),
        (("t.1.0", "t.1.1", "t.2.2", "t.2.3", "t.2.4"), Verdict.WRONG),
        (("t.1.0", "t.1.1", "u.1.2", "t.1.3", "t.1.4"), Verdict.WRONG),
        (("t.1.1", "t.1.0", "t.1.2", "t.1.3", "t.1.4"), Verdict.WRONG),
    ],
    ids=["gap", "short", "repeat", "splice", "another answer's", "order"],
)
def test_words_that_are_not_the_answer_are_refused(words: tuple[str, ...], verdict: Verdict) -> None:
    with pytest.raises(Misfit) as caught:
        check_stream(answer_of(*words))
    assert caught.value.verdict == verdict


def drop(events: list[Event]) -> None:
    del events[2]


def repeat(events: list[Event]) -> None:
    events.insert(2, events[2])


def end_twice(events: list[Event]) -> None:
    events.append({**events[-1], "sequence_number": len(events)})


def never_end(events: list[Event]) -> None:
    del events[-1]


def change_a_delta(events: list[Event]) -> None:
    events[2]["delta"] = "t.1.9 "


def change_the_item(events: list[Event]) -> None:
    events[-2]["item"] = {**events[-2]["item"], "status": "incomplete"}


@pytest.mark.parametrize(
    ("spoil", "verdict"),
    [
        (drop, Verdict.LOST),
        (repeat, Verdict.DOUBLED),
        (end_twice, Verdict.DOUBLED),
        (never_end, Verdict.HUNG),
        (change_a_delta, Verdict.WRONG),
        (change_the_item, Verdict.WRONG),
    ],
)
def test_a_stream_that_is_not_whole_is_refused(spoil: Callable[[list[Event]], None], verdict: Verdict) -> None:
    answer = whole()
    spoil(answer.events)
    with pytest.raises(Misfit) as caught:
        check_stream(answer)
    assert caught.value.verdict == verdict


def test_a_failure_is_wrong_unless_an_operator_ended_the_response() -> None:
    half = ("t.1.0", "t.1.1")
    with pytest.raises(Misfit, match="failed"):
        check_stream(answer_of(*half, status="failed"))
    assert check_stream(answer_of(*half, status="failed", operated="terminate"))["status"] == "failed"
    with pytest.raises(Misfit, match="splice"):
        check_stream(answer_of("t.1.0", "t.2.1", status="failed", operated="terminate"))


def test_a_tool_has_one_effect_for_all_of_its_attempts(tmp_path: Path) -> None:
    def settled(lines: str) -> Verdict | None:
        (tmp_path / "lines").write_text(lines)
        answer = whole(kind="hosted tools")
        assert answer.response is not None
        answer.response["output"].append({"type": "function_call_output"})
        answer.settle(Verdict.WHOLE)
        check_effects([answer], tmp_path)
        return answer.verdict

    assert settled("key1 p?\nkey1 p?\nkey2 q?\n") == Verdict.WHOLE
    assert settled("key1 p?\nkey2 p?\n") == Verdict.DOUBLED
    assert settled("key1 q?\n") == Verdict.LOST


def test_a_context_has_each_earlier_turn_once() -> None:
    earlier, answer = whole(), whole()

    def sent(*contents: str) -> None:
        answer.script.messages = [{"content": content} for content in contents]

    sent("p?", "t.1.0 t.1.1", "q?")
    check_context(answer, [earlier])
    sent("p?", "q?")
    with pytest.raises(Misfit, match="lost"):
        check_context(answer, [earlier])
    sent("p?", "t.1.0", "p?", "q?")
    with pytest.raises(Misfit, match="doubled"):
        check_context(answer, [earlier])


def test_a_conversation_has_each_turn_once() -> None:
    def items(*texts: str) -> list[dict[str, Any]]:
        return [{"type": "message", "content": [{"text": text}]} for text in texts]

    check_conversation(items("p?", "t.1.0"), [whole()])
    with pytest.raises(Misfit, match="lost"):
        check_conversation(items("p?"), [whole()])
    with pytest.raises(Misfit, match="doubled"):
        check_conversation(items("p?", "p?", "t.1.0"), [whole()])


def test_the_report_counts_a_response_for_each_fault_that_it_met_and_a_silence_for_the_first() -> None:
    met, missed = whole(began=10.0, ended=20.0), whole(began=40.0, ended=41.0)
    met.silences = [(11.0, 14.5)]
    met.settle(Verdict.WHOLE)
    missed.settle(Verdict.LOST, "…")
    faults = [FaultRun("kill", 9.0, 11.5), FaultRun("cut", 13.0, 19.0), FaultRun("kill", 30.0, 31.0)]
    report = Report("seed", 0.0, 50.0, [met, missed], faults)
    rows = report.by_fault()
    assert (rows["kill"].times, rows["kill"].verdicts[Verdict.WHOLE], rows["kill"].longest_silence) == (2, 1, 3.5)
    assert (rows["cut"].verdicts[Verdict.WHOLE], rows["cut"].longest_silence) == (1, 0.0)
    assert report.broken == [missed]
    assert "| all | 3 | 2 | 1 | 0 | 1 |" in report.table()
