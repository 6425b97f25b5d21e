"""The timeline of a response, read from histories that were recorded from running responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.failure.v1 import ApplicationFailureInfo, Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowHistory

from open_responses.ids import is_id
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.io.temporal.timeline import Entry, Timeline, read_all, reader
from tests.support.record_history import HISTORIES


async def timeline_in(name: str, *, events: int | None = None) -> Timeline:
    """The timeline of a recorded history, or of its first events."""
    path = HISTORIES / f"{name}.json"
    timeline = reader(DATA_CONVERTER)
    for event in WorkflowHistory.from_json(name, path.read_text()).events[:events]:
        await timeline.read(event)
    return timeline


def shown(entries: list[Entry]) -> list[tuple[str, str, int, int, str]]:
    return [(entry.kind, entry.name, entry.turn, entry.attempt, entry.status) for entry in entries]


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        (
            "hosted_tools",
            [
                ("model_turn", "fake", 1, 1, "completed"),
                ("tool", "get_weather", 1, 1, "completed"),
                ("tool", "fails", 1, 1, "failed"),
                ("model_turn", "fake", 2, 1, "completed"),
                ("tool", "flaky", 2, 3, "completed"),
                ("model_turn", "fake", 3, 1, "completed"),
            ],
        ),
        (
            "live_approval",
            [
                ("mcp", "calc", 0, 1, "completed"),
                ("model_turn", "fake", 1, 1, "completed"),
                ("approval", "add", 1, 1, "completed"),
                ("tool", "get_weather", 1, 1, "completed"),
                ("mcp", "calc.add", 1, 1, "completed"),
                ("model_turn", "fake", 2, 1, "completed"),
            ],
        ),
        ("worker_killed", [("model_turn", "smollm2", 1, 1, "failed"), ("model_turn", "smollm2", 1, 2, "completed")]),
        # Temporal's retries of one activity, and then another provider: attempts at one turn.
        (
            "provider_down_falls_back",
            [("model_turn", "falls-back", 1, 5, "failed"), ("model_turn", "fake", 1, 6, "completed")],
        ),
        ("cancelled_in_a_sample", [("model_turn", "fake", 1, 1, "cancelled")]),
    ],
)
async def test_a_history_shows_turns_tools_and_approvals_with_their_attempts(
    name: str, entries: list[tuple[str, str, int, int, str]]
) -> None:
    assert shown((await timeline_in(name)).entries) == entries


async def test_each_step_has_its_times_its_tokens_and_what_came_of_it() -> None:
    turn, weather, fails, *_ = (await timeline_in("hosted_tools")).entries
    assert turn.ended_at is not None
    assert weather.started_at >= turn.ended_at
    assert weather.ended_at is not None
    assert 0 < weather.ended_at - weather.started_at < 1
    assert (turn.detail, turn.tokens, turn.cost_usd) == ("fake", 10, None)
    assert weather.detail
    assert (fails.tokens, fails.detail != "") == (None, True)
    refused = (await timeline_in("failed")).entries[0]
    assert refused.detail.startswith("local: unsupported_item: ")


async def test_attempts_at_a_turn_add_up_to_the_tokens_of_the_turn() -> None:
    lost, whole = (await timeline_in("worker_killed")).entries
    assert (lost.tokens, whole.tokens) == (0, 436)
    assert "worker lost" in lost.detail


async def test_what_runs_when_the_response_ends_is_cancelled_and_the_end_is_an_entry() -> None:
    timeline = await timeline_in("hosted_tools", events=12)
    assert timeline.entries[-1].ended_at is None
    timeline.finish(timeline.entries[-1].started_at + 1, "cancelled", "")
    assert timeline.entries[-2].status == "cancelled"
    assert shown(timeline.entries)[-1] == ("finish", "cancelled", 1, 1, "cancelled")


async def test_an_activity_that_waits_for_its_next_attempt_is_retrying() -> None:
    timeline = await timeline_in("provider_down_falls_back", events=5)
    assert shown(timeline.entries) == [("model_turn", "falls-back", 1, 1, "running")]
    failure = Failure(application_failure_info=ApplicationFailureInfo(type="provider_unavailable"))
    waits = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    timeline.go_on([PendingActivityInfo(activity_id="1", attempt=3, state=waits, last_failure=failure)])
    assert shown(timeline.entries) == [("model_turn", "falls-back", 1, 3, "retrying")]
    assert timeline.entries[0].detail == "down: provider_unavailable"


async def test_an_approval_that_the_response_left_open_is_for_the_next_one() -> None:
    timeline = await timeline_in("live_approval", events=20)
    asked = next(entry for entry in timeline.entries if entry.kind == "approval")
    assert (asked.status, asked.ended_at) == ("running", None)
    timeline.finish(asked.started_at + 1, "completed", "")
    assert (asked.status, asked.detail) == ("completed", "the decision is left to the next response")


async def test_other_requests_go_on_while_a_long_history_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("open_responses.io.temporal.timeline._LONGEST_TURN_SECONDS", 0)
    events = WorkflowHistory.from_json("x", (HISTORIES / "hosted_tools.json").read_text()).events
    turns = 0

    async def page() -> AsyncIterator[HistoryEvent]:
        # A page is in memory: nothing is waited for between its events.
        for event in events:
            yield event

    async def another_request() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(another_request())
    await read_all(reader(DATA_CONVERTER), page())
    other.cancel()
    assert turns >= len(events) - 1


async def test_the_steps_of_a_program_have_its_name() -> None:
    names = {entry.name for entry in (await timeline_in("program_that_calls_tools")).entries}
    assert "program" in names
    assert "run_program_step" not in names


@pytest.mark.parametrize(
    ("name", "status", "detail"),
    [
        ("waits_for_a_time", "completed", "for "),
        ("wait_that_a_message_ends", "cancelled", "for "),
        ("wait_that_a_cancel_ends", "cancelled", "for "),
    ],
)
async def test_a_wait_is_a_step_with_its_time_and_other_timers_are_none(name: str, status: str, detail: str) -> None:
    waits = [entry for entry in (await timeline_in(name)).entries if entry.kind == "wait"]
    assert [wait.status for wait in waits] == [status]
    (wait,) = waits
    assert wait.detail.startswith(detail)
    assert wait.due_at is not None
    assert wait.ended_at is not None
    assert (wait.due_at > wait.ended_at + 1) == (status == "cancelled")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("calls_an_agent", "completed"),
        ("calls_an_agent_that_fails", "failed"),
        ("cancelled_with_its_agent", "cancelled"),
    ],
)
async def test_a_call_of_an_agent_is_a_step_with_the_agents_response(name: str, status: str) -> None:
    timeline = await timeline_in(name)
    # A response that is cancelled ends before its agents have.
    timeline.finish(timeline.entries[-1].started_at + 1, "cancelled", "")
    agents = [entry for entry in timeline.entries if entry.kind == "agent"]
    assert {(agent.name, agent.status) for agent in agents} == {("researcher", status)}
    assert all(is_id("resp_", agent.response_id or "") for agent in agents)
    assert len({agent.response_id for agent in agents}) == len(agents)


async def test_what_runs_in_the_workflow_goes_on_until_its_end_is_in_the_history() -> None:
    timeline = await timeline_in("waits_for_a_time")
    (index,) = [at for at, entry in enumerate(timeline.entries) if entry.kind == "wait"]
    for events in range(1, 60):
        entries = (await timeline_in("waits_for_a_time", events=events)).entries
        if len(entries) > index:
            assert (entries[index].status, entries[index].ended_at) == ("running", None)
            return
    raise AssertionError("the wait never began")
