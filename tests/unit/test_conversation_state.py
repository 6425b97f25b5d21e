"""The state machine behind a conversation, without Temporal."""

from __future__ import annotations

import json
from typing import Any

import pytest

from open_responses.conversations.payloads import ConversationState, Entry, TakeLock
from open_responses.conversations.snapshot import remembered
from open_responses.conversations.state import ALREADY_ENDED, BUSY, CHANGED, FULL, MAX_CONVERSATION_ITEMS, Refused
from open_responses.io.temporal.codec import DATA_CONVERTER
from tests.support.conversations import conversation, end


def lock_for(response_id: str, revision: int = 0) -> TakeLock:
    return TakeLock(response_id=response_id, revision=revision, at=0)


def refusal(act: Any, *args: Any) -> str:
    with pytest.raises(Refused) as refused:
        act(*args)
    return refused.value.code


def test_a_lock_can_be_taken_and_released_twice_and_counts_once() -> None:
    known = conversation()
    known.take_lock(lock_for("r1"))
    known.take_lock(lock_for("r1"))
    assert refusal(known.take_lock, lock_for("r2")) == BUSY
    known.end_response(end("r1", "a", "b"))
    known.end_response(end("r1", "a", "b"))
    assert [item["id"] for item in known.state.items] == ["a", "b"]
    assert refusal(known.take_lock, lock_for("r1", 1)) == ALREADY_ENDED
    assert refusal(known.take_lock, lock_for("r2", 0)) == CHANGED
    known.take_lock(lock_for("r2", 1))


def test_a_late_end_after_a_released_lock_adds_its_items_and_leaves_the_lock_alone() -> None:
    known = conversation()
    known.take_lock(lock_for("r1"))
    known.release_lock("r1")
    known.take_lock(lock_for("r2"))
    known.end_response(end("r1", "late"))
    assert known.state.lock is not None
    assert known.state.lock.response_id == "r2"
    known.end_response(end("r2", "own"))
    assert [item["id"] for item in known.state.items] == ["late", "own"]
    assert known.state.lock is None


async def test_payloads_name_the_lock_as_those_of_running_conversations_do() -> None:
    known = conversation()
    known.take_lock(lock_for("r1"))
    (payload,) = await DATA_CONVERTER.encode([known.state])
    assert json.loads(payload.data)["turn"] == {"response_id": "r1", "began_at": 0.0}
    (read,) = await DATA_CONVERTER.decode([payload], [ConversationState])
    assert read == known.state


def test_a_full_conversation_cannot_be_locked_until_an_item_is_deleted() -> None:
    known = conversation()
    known.end_response(end("r1", *(str(i) for i in range(MAX_CONVERSATION_ITEMS))))
    assert refusal(known.take_lock, lock_for("r2", 1)) == FULL
    assert refusal(known.add, [{"type": "message", "id": "x"}]) == FULL
    known.delete("7")
    known.take_lock(lock_for("r2", 2))


def test_the_characters_of_what_is_deleted_are_free_again() -> None:
    known = conversation()
    known.add([{"type": "message", "id": "x", "content": "ü" * 100}])
    assert known.state.characters > 100
    known.delete("x")
    assert known.state.characters == 0


def test_what_an_earlier_version_let_in_stays_in_and_is_not_read() -> None:
    """The handler of an update runs again at each replay: only its validator may refuse what was taken once."""
    known = conversation()
    output = {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "x"}
    assert refusal(known.check_addition, [output]) == "unknown_tool_call"
    known.add([output])
    assert [item["id"] for item in known.state.items] == ["fco_1"]
    assert remembered(known.state) is None


def test_what_a_response_reads_is_in_turns() -> None:
    def entry(id: str, response_id: str | None = None, is_output: bool = False) -> Entry:
        return Entry(item={"type": "message", "id": id}, response_id=response_id, is_output=is_output)

    entries = [entry("a"), entry("b", "r1"), entry("c", "r1", True), entry("d", "r1", True), entry("e", "r2", True)]
    found = remembered(conversation(entries=entries).state)
    assert found is not None
    turns = [([i["id"] for i in turn.input], [i["id"] for i in turn.output]) for turn in found.turns]
    assert turns == [(["a", "b"], ["c", "d"]), ([], ["e"])]
    assert remembered(conversation().state) is None


def test_what_a_summary_stands_for_is_not_carried_along() -> None:
    def entry(id: str, role: str | None = None, kind: str = "message") -> Entry:
        return Entry(item={"type": kind, "id": id, **({"role": role} if role else {})})

    before = [entry("rules", "developer"), entry("old", "user"), entry("said", "assistant")]
    asked = [entry("asked", "user"), entry("and", "user"), entry("thought", kind="reasoning")]
    notes = [entry("first", kind="compaction"), entry("go on", "user"), entry("notes", kind="compaction")]
    found = remembered(conversation(entries=[*before, *asked, *notes[:1], entry("new", "assistant")]).state)
    assert found is not None
    assert [item["id"] for item in found.turns[0].input] == ["rules", "asked", "and", "first", "new"]
    found = remembered(conversation(entries=[*before, *asked, *notes]).state)
    assert found is not None
    assert [item["id"] for item in found.turns[0].input] == ["rules", "go on", "notes"]
