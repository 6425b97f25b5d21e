"""An approval is acted on in the order of history: behind the results before its timer's end, before those behind it.

A repeated workflow task may find more results behind the timer's end than its first run found. If the approval's call
moved with them, it would take another place in the output than clients were sent.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from workflows import tasks
from workflows.hosted_call import until_stopped
from workflows.tasks import next_task_in_order

APPROVAL = "approval"
PATCH = "an-approval-in-the-order-of-history"
# The SDK's flag with which it gives a task its signals and results in one batch; histories without it stay as they are.
SINGLE_BATCH = 2
acted: list[str] = []


@workflow.defn
class Order:
    """Waits for two results and an approval as `ResponseWorkflow` does, and notes the order in which it acts."""

    def __init__(self) -> None:
        self._is_approved = False

    @workflow.signal
    def approve(self) -> None:
        self._is_approved = True

    @workflow.run
    async def run(self) -> None:
        await asyncio.gather(self._result("first"), self._result("second"), self._approval())

    async def _result(self, name: str) -> None:
        handle = workflow.start_activity(name, start_to_close_timeout=timedelta(minutes=1))
        await until_stopped(handle, lambda: False, in_order=True, repeats_alike=True)
        acted.append(name)

    async def _approval(self) -> None:
        await workflow.wait_condition(lambda: self._is_approved)
        await next_task_in_order()
        acted.append(APPROVAL)


class Recorded:
    """A history, event by event."""

    def __init__(self, flags: Sequence[int]) -> None:
        self._history = History()
        self._flags = flags

    def add(self, kind: str) -> HistoryEvent:
        event: HistoryEvent = self._history.events.add()
        event.event_id = len(self._history.events)
        event.event_time.FromSeconds(1_000 + event.event_id)
        event.event_type = EventType.Value(f"EVENT_TYPE_{kind}")
        return event

    def add_task(self) -> int:
        """A workflow task from its scheduling to its completion. Returns its last event's id."""
        event = self.add("WORKFLOW_TASK_SCHEDULED")
        event.workflow_task_scheduled_event_attributes.SetInParent()
        scheduled, started = event.event_id, self.add("WORKFLOW_TASK_STARTED")
        started.workflow_task_started_event_attributes.scheduled_event_id = scheduled
        completed = self.add("WORKFLOW_TASK_COMPLETED")
        about = completed.workflow_task_completed_event_attributes
        about.scheduled_event_id, about.started_event_id = scheduled, started.event_id
        about.sdk_metadata.lang_used_flags.extend(self._flags)
        return completed.event_id

    def add_patch(self, task: int) -> None:
        marker = self.add("MARKER_RECORDED").marker_recorded_event_attributes
        marker.marker_name, marker.workflow_task_completed_event_id = "core_patch", task
        payload = marker.details["patch-data"].payloads.add(data=b'{"id":"%s","deprecated":false}' % PATCH.encode())
        payload.metadata["encoding"] = b"json/plain"

    def as_workflow_history(self) -> WorkflowHistory:
        return WorkflowHistory("order", list(self._history.events))


def history(arrivals: Sequence[str], flags: Sequence[int], *, is_patched: bool) -> WorkflowHistory:
    """All of `arrivals` reach the workflow in one task."""
    recorded = Recorded(flags)
    started = recorded.add("WORKFLOW_EXECUTION_STARTED").workflow_execution_started_event_attributes
    started.workflow_type.name, started.task_queue.name = "Order", "queue"
    started.original_execution_run_id = started.first_execution_run_id = "run"
    task, scheduled = recorded.add_task(), dict[str, int]()
    for number, name in enumerate(("first", "second"), 1):
        event = recorded.add("ACTIVITY_TASK_SCHEDULED")
        about = event.activity_task_scheduled_event_attributes
        about.activity_id, about.activity_type.name, about.workflow_task_completed_event_id = str(number), name, task
        scheduled[name] = event.event_id
    recorded.add("WORKFLOW_EXECUTION_SIGNALED").workflow_execution_signaled_event_attributes.signal_name = "approve"
    task = recorded.add_task()
    timer = recorded.add("TIMER_STARTED")
    timer.timer_started_event_attributes.timer_id = "1"
    timer.timer_started_event_attributes.workflow_task_completed_event_id = task
    begun: dict[str, int] = {}
    for name, event_id in scheduled.items():
        event = recorded.add("ACTIVITY_TASK_STARTED")
        event.activity_task_started_event_attributes.scheduled_event_id = event_id
        begun[name] = event.event_id
    for name in arrivals:
        if name == APPROVAL:
            fired = recorded.add("TIMER_FIRED").timer_fired_event_attributes
            fired.timer_id, fired.started_event_id = "1", timer.event_id
        else:
            done = recorded.add("ACTIVITY_TASK_COMPLETED").activity_task_completed_event_attributes
            done.scheduled_event_id, done.started_event_id = scheduled[name], begun[name]
    task = recorded.add_task()
    if is_patched:
        recorded.add_patch(task)
    ended = recorded.add("WORKFLOW_EXECUTION_COMPLETED").workflow_execution_completed_event_attributes
    ended.workflow_task_completed_event_id = task
    return recorded.as_workflow_history()


async def order_of(arrivals: Sequence[str], flags: Sequence[int], *, is_patched: bool = True) -> list[str]:
    acted.clear()
    replayer = Replayer(workflows=[Order], workflow_runner=UnsandboxedWorkflowRunner())
    await replayer.replay_workflow(history(arrivals, flags, is_patched=is_patched))
    return list(acted)


ORDERS = list(itertools.permutations(("first", "second", APPROVAL)))
FLAGS = pytest.mark.parametrize("flags", [(), (SINGLE_BATCH,)], ids=["jobs in sets", "jobs in one batch"])


@FLAGS
@pytest.mark.parametrize("arrivals", ORDERS, ids="-".join)
async def test_results_and_an_approval_are_acted_on_as_history_has_them(
    arrivals: tuple[str, ...], flags: tuple[int, ...]
) -> None:
    assert await order_of(arrivals, flags) == list(arrivals)


@FLAGS
@pytest.mark.parametrize("off_by", [-1, 1])
async def test_one_turn_of_the_event_loop_more_or_less_breaks_the_order(
    monkeypatch: pytest.MonkeyPatch, off_by: int, flags: tuple[int, ...]
) -> None:
    """So the tests above notice when an SDK wakes activities earlier or later than the number says."""
    monkeypatch.setattr(tasks, "_LOOP_PASSES_TO_A_RESULT", tasks._LOOP_PASSES_TO_A_RESULT + off_by)
    moved = [APPROVAL, "first", "second"] if off_by < 0 else ["first", "second", APPROVAL]
    assert await order_of(["first", APPROVAL, "second"], flags) == moved


async def test_runs_of_earlier_versions_keep_the_order_in_which_they_acted() -> None:
    """Results that came with the end of the timer were acted on first, wherever history has them."""
    assert await order_of([APPROVAL, "first", "second"], (), is_patched=False) == ["first", "second", APPROVAL]
