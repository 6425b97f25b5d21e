"""The timeline of a response, from the history of its workflow: model turns, tools, waits, agents, approvals, the end.

History has the start of an activity only after the activity has ended. The description of the run has the activities
that run or wait for their next attempt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowExecutionDescription, WorkflowHistoryEventFilterType
from temporalio.converter import DataConverter

from open_responses.io.temporal.large_payloads import ERASED
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.names import (
    CALL_BUILT_IN_TOOL,
    CALL_MCP_TOOL,
    LIST_MCP_TOOLS,
    RUN_PROGRAM_STEP,
    SAMPLE,
)

Kind = Literal["model_turn", "tool", "mcp", "approval", "wait", "agent", "finish"]
Status = Literal["completed", "failed", "running", "retrying", "cancelled"]

_LONGEST_DETAIL = 300
_LONGEST_TURN_SECONDS = 0.005
_STOPPED = ("cancelled",)
_NAMES = {RUN_PROGRAM_STEP: "program"}
"""Activities that are no tools by their own names: a program runs from one call of a tool to the next."""
_WAITS = "waits "
"""How the timer of a wait is called (`workflows/waiting.py`); the workflow's other timers have other summaries."""
_ENDS_OF_AGENTS: dict[EventType.ValueType, tuple[str, Status]] = {
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: (
        "child_workflow_execution_completed_event_attributes",
        "completed",
    ),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: (
        "child_workflow_execution_failed_event_attributes",
        "failed",
    ),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: (
        "child_workflow_execution_timed_out_event_attributes",
        "failed",
    ),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: (
        "child_workflow_execution_canceled_event_attributes",
        "cancelled",
    ),
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: (
        "child_workflow_execution_terminated_event_attributes",
        "cancelled",
    ),
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: (
        "start_child_workflow_execution_failed_event_attributes",
        "failed",
    ),
}
"""How an agent's workflow may end: the event's attributes, and the status of the entry."""
_SCHEDULED = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
_CLOSE = WorkflowHistoryEventFilterType.CLOSE_EVENT


@dataclass(slots=True)
class Entry:
    """One step of a response. Times are in Unix seconds.

    Attributes:
        kind: What the step is.
        name: The model, the tool, or the status that the response ended with.
        turn: The model turn that the step belongs to, from 1; 0 before the first.
        attempt: The number of the attempt, from 1.
        started_at: When it began: for one that was tried again, when the first attempt was due.
        ended_at: None while it goes on.
        status: How it ended, or that it has not.
        detail: The provider, and why it failed or waits; of a tool the beginning of its output.
        tokens: Of a model turn: the tokens that this entry added.
        cost_usd: What they cost; None where it is not known.
        due_at: Of a wait: when it ends, unless a message of the user or the end of the response ends it before.
        response_id: Of a call to an agent: the agent's response.
    """

    kind: Kind
    name: str
    turn: int
    attempt: int
    started_at: float
    ended_at: float | None = None
    status: Status = "running"
    detail: str = ""
    tokens: int | None = None
    cost_usd: float | None = None
    due_at: float | None = None
    response_id: str | None = None


@dataclass(slots=True)
class Timeline:
    """Makes entries of events, in order. `decode` returns the JSON of payloads, without those that were erased."""

    decode: Callable[[Iterable[Payload]], Awaitable[Sequence[object]]]
    fail: Callable[[Failure], Awaitable[str]]
    entries: list[Entry] = field(default_factory=list)
    _by_event: dict[int, Entry] = field(default_factory=dict)
    _by_activity: dict[str, Entry] = field(default_factory=dict)
    _waiting: dict[str, Entry] = field(default_factory=dict)
    _turn: int = 0
    _attempts: int = 0
    _counted: tuple[int, float | None] = (0, None)

    async def read(self, event: HistoryEvent) -> None:
        """Add the step that this event begins, or end one."""
        kind, at = event.event_type, _seconds(event.event_time)
        if kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            await self._scheduled(event, at)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            begun = event.activity_task_started_event_attributes
            self._began(begun.scheduled_event_id, begun.attempt, at)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            done = event.activity_task_completed_event_attributes
            await self._completed(self._by_event.get(done.scheduled_event_id), done.result.payloads, at)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            failed = event.activity_task_failed_event_attributes
            self._end(failed.scheduled_event_id, "failed", await self.fail(failed.failure), at)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
            late = event.activity_task_timed_out_event_attributes
            self._end(late.scheduled_event_id, "failed", "it took too long, or its worker was lost", at)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
            self._end(event.activity_task_canceled_event_attributes.scheduled_event_id, "cancelled", "", at)
        elif kind == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            request = event.workflow_execution_update_accepted_event_attributes.accepted_request
            if request.input.name == "answer_approval":
                await self._answered(request.input.args.payloads, at)
        else:
            await self._in_workflow(event, at)

    def go_on(self, pending: Iterable[PendingActivityInfo]) -> None:
        """Add the activities that the description of an open run has."""
        for activity in pending:
            entry = self._by_activity.get(activity.activity_id)
            if entry is None or entry.ended_at is not None:
                continue
            entry.attempt += max(0, activity.attempt - 1)
            if activity.state == _SCHEDULED and activity.attempt > 1:
                entry.status = "retrying"
                info = activity.last_failure.application_failure_info
                entry.detail = _joined(entry.detail, info.type or "the last attempt failed")

    def finish(self, at: float, status: str, detail: str) -> None:
        """Add the end of the response, with its status."""
        for entry in self.entries:
            if entry.ended_at is None:
                entry.ended_at = at
                entry.status = "cancelled"
        for entry in self._waiting.values():
            if status == "completed":
                entry.status, entry.detail = "completed", "the decision is left to the next response"
        shown: Status = "failed" if status == "failed" else "cancelled" if status == "cancelled" else "completed"
        self.entries.append(Entry("finish", status, self._turn, 1, at, at, shown, detail))

    # --- activities

    async def _scheduled(self, event: HistoryEvent, at: float) -> None:
        scheduled = event.activity_task_scheduled_event_attributes
        given = await self._one(scheduled.input.payloads)
        entry = self._entry(scheduled.activity_type.name, given, at)
        self.entries.append(entry)
        self._by_event[event.event_id] = self._by_activity[scheduled.activity_id] = entry

    def _entry(self, activity: str, given: JsonObject, at: float) -> Entry:
        if activity == SAMPLE:
            turn = _whole(given.get("turn"), self._turn + 1)
            if turn != self._turn:
                self._turn, self._attempts, self._counted = turn, 0, (0, None)
            name, provider = _text(given.get("upstream_model")), _text(given.get("provider"))
            return Entry("model_turn", name or "model", turn, self._attempts + 1, at, detail=provider)
        label, context = _text(given.get("server_label")), given.get("context")
        attempt = _whole(context.get("attempt") if isinstance(context, dict) else None, 1)
        if activity == LIST_MCP_TOOLS:
            return Entry("mcp", label, self._turn, 1, at, detail="lists its tools")
        if activity == CALL_MCP_TOOL:
            return Entry("mcp", f"{label}.{_text(given.get('tool'))}", self._turn, attempt, at)
        name = _text(given.get("function")) if activity == CALL_BUILT_IN_TOOL else _NAMES.get(activity, activity)
        return Entry("tool", name, self._turn, attempt, at)

    def _began(self, scheduled: int, attempt: int, at: float) -> None:
        entry = self._by_event.get(scheduled)
        if entry is None:
            return
        if attempt == 1:
            entry.started_at = at
        entry.attempt += attempt - 1
        if entry.kind == "model_turn":
            self._attempts = entry.attempt

    async def _completed(self, entry: Entry | None, result: Iterable[Payload], at: float) -> None:
        if entry is None:
            return
        entry.ended_at, entry.status = at, "completed"
        found = await self._one(result)
        outcome, reason = found.get("outcome", "done"), _text(found.get("reason"))
        if outcome in _STOPPED:
            entry.status = "cancelled"
        elif outcome != "done":
            entry.status = "failed"
            said = reason or _text(found.get("error")) or _text(found.get("output"))
            entry.detail = _joined(entry.detail, said or str(outcome))
        elif entry.kind != "model_turn":
            entry.detail = _joined(entry.detail, _text(found.get("output")))
        if entry.kind == "model_turn":
            self._count(entry, found.get("usage"))
            self._ask(found.get("items"), at)

    def _end(self, scheduled: int, status: Status, detail: str, at: float) -> None:
        entry = self._by_event.get(scheduled)
        if entry is not None:
            entry.ended_at, entry.status, entry.detail = at, status, _joined(entry.detail, detail)

    # --- what the workflow runs itself: waits and agents

    async def _in_workflow(self, event: HistoryEvent, at: float) -> None:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_TIMER_STARTED:
            said = await self._words(event.user_metadata.summary)
            if said.startswith(_WAITS):
                lasts = event.timer_started_event_attributes.start_to_fire_timeout
                text = said.removeprefix(_WAITS)
                self._begin(event, Entry("wait", "wait", self._turn, 1, at, detail=text, due_at=at + _length(lasts)))
        elif kind == EventType.EVENT_TYPE_TIMER_FIRED:
            self._end(event.timer_fired_event_attributes.started_event_id, "completed", "", at)
        elif kind == EventType.EVENT_TYPE_TIMER_CANCELED:
            self._end(event.timer_canceled_event_attributes.started_event_id, "cancelled", "ended early", at)
        elif kind == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
            child = event.start_child_workflow_execution_initiated_event_attributes
            # "model · tenant · tool", as Temporal's UI shows it, with the characters escaped that Markdown would take.
            name = (await self._words(event.user_metadata.summary)).rpartition(" · ")[2].replace("\\", "")
            entry = Entry("agent", name or "agent", self._turn, 1, at, response_id=child.workflow_id)
            self._begin(event, entry)
        elif kind in _ENDS_OF_AGENTS:
            member, status = _ENDS_OF_AGENTS[kind]
            self._end(getattr(event, member).initiated_event_id, status, "", at)

    def _begin(self, event: HistoryEvent, entry: Entry) -> None:
        self.entries.append(entry)
        self._by_event[event.event_id] = entry

    async def _words(self, payload: Payload) -> str:
        decoded = await self.decode([payload])
        return _text(decoded[0] if decoded else None)

    def _count(self, entry: Entry, usage: object) -> None:
        """Add the tokens that a sample reports, which are those of all attempts at its turn so far."""
        if not isinstance(usage, dict):
            return
        tokens = _whole(usage.get("input_tokens"), 0) + _whole(usage.get("output_tokens"), 0)
        cost = usage.get("cost_usd")
        before, cost_before = self._counted
        entry.tokens = max(0, tokens - before)
        if isinstance(cost, int | float):
            entry.cost_usd = max(0.0, cost - (cost_before or 0.0))
            cost_before = cost
        self._counted = (max(tokens, before), cost_before)

    # --- approvals

    def _ask(self, items: object, at: float) -> None:
        for item in items if isinstance(items, list) else []:
            if isinstance(item, dict) and item.get("type") == "mcp_approval_request":
                entry = Entry("approval", _text(item.get("name")), self._turn, 1, at, detail="waits for a person")
                self.entries.append(entry)
                self._waiting[_text(item.get("id"))] = entry

    async def _answered(self, arguments: Iterable[Payload], at: float) -> None:
        answer = await self._one(arguments)
        entry = self._waiting.pop(_text(answer.get("approval_request_id")), None)
        if entry is not None:
            entry.ended_at, entry.status = at, "completed"
            entry.detail = "approved" if answer.get("approve") else "denied"

    async def _one(self, payloads: Iterable[Payload]) -> JsonObject:
        decoded = await self.decode(payloads)
        first = decoded[0] if decoded else None
        return first if isinstance(first, dict) else {}


async def timeline_of(temporal: Client, described: WorkflowExecutionDescription, ended_as: str | None) -> list[Entry]:
    """The entries of a response, with those of the runs before this one, where history was handed over.

    Args:
        temporal: The client.
        described: The newest run.
        ended_as: The final status of the response; None while it runs.

    Raises:
        RPCError: Temporal cannot be reached, or does not have the history any more.
    """
    timeline = reader(temporal.data_converter)
    for run_id in await _runs(temporal, described):
        handle = temporal.get_workflow_handle(described.id, run_id=run_id)
        await read_all(timeline, handle.fetch_history_events())
    timeline.go_on(described.raw_description.pending_activities)
    if described.close_time is not None and ended_as is not None:
        timeline.finish(described.close_time.timestamp(), ended_as, "")
    return timeline.entries


def reader(converter: DataConverter) -> Timeline:
    """Return a timeline that decodes payloads with this converter."""

    async def decode(payloads: Iterable[Payload]) -> Sequence[object]:
        try:
            return await converter.decode(list(payloads))
        except (*ERASED, ValueError, TypeError, RuntimeError):
            # The payload was erased meanwhile, or an operator sent it by hand. The step is shown without it.
            return []

    async def fail(failure: Failure) -> str:
        try:
            error = await converter.decode_failure(failure)
        except ERASED:
            return failure.application_failure_info.type
        code = getattr(error, "type", None)
        return f"{code}: {error}" if isinstance(code, str) and not str(error).startswith(code) else str(error)

    return Timeline(decode, fail)


async def read_all(timeline: Timeline, events: AsyncIterable[HistoryEvent]) -> None:
    """Read events. Other requests go on between two events, also if a page of them has megabytes of results."""
    since = time.monotonic()
    async for event in events:
        await timeline.read(event)
        if time.monotonic() - since >= _LONGEST_TURN_SECONDS:
            await asyncio.sleep(0)
            since = time.monotonic()


async def _runs(temporal: Client, described: WorkflowExecutionDescription) -> list[str]:
    """The runs of a response, oldest first: each hands over to the next when its history is long."""
    runs: list[str] = []
    run_id: str | None = described.raw_description.workflow_execution_info.first_run_id or described.run_id
    while run_id is not None and run_id not in runs:
        runs.append(run_id)
        run_id = None if run_id == described.run_id else await _successor(temporal, described.id, run_id)
    # An operator's reset begins a run that copies the earlier history, and no event refers to it.
    return runs if described.run_id in runs else [described.run_id]


async def _successor(temporal: Client, workflow_id: str, run_id: str) -> str | None:
    handle = temporal.get_workflow_handle(workflow_id, run_id=run_id)
    last = await handle.describe()
    if last.close_time is None:
        return None
    async for event in handle.fetch_history_events(event_filter_type=_CLOSE):
        handed_over = event.workflow_execution_continued_as_new_event_attributes
        return handed_over.new_execution_run_id or None
    return None


def _seconds(time: Timestamp) -> float:
    return time.seconds + time.nanos / 1e9


def _length(time: Duration) -> float:
    return time.seconds + time.nanos / 1e9


def _joined(*parts: str) -> str:
    text = ": ".join(part for part in parts if part)
    return text if len(text) <= _LONGEST_DETAIL else text[:_LONGEST_DETAIL] + "…"


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""


def _whole(given: object, otherwise: int) -> int:
    return given if isinstance(given, int) else otherwise
