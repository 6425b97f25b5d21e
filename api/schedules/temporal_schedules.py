"""Schedules as Temporal has them: made, read and deleted. The state of one is the input of its runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
)
from temporalio.client import (
    ScheduleState as TemporalState,
)
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.client import TENANT, WORKFLOW_TASK_TIMEOUT
from open_responses.io.temporal.visibility import literal
from open_responses.loop import search_attributes as names
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.schedules.cron import parse_cron
from open_responses.schedules.payloads import SCHEDULED_RESPONSE_WORKFLOW, Overlap, ScheduleState

_OVERLAPS: dict[Overlap, ScheduleOverlapPolicy] = {
    "skip": ScheduleOverlapPolicy.SKIP,
    "queue": ScheduleOverlapPolicy.BUFFER_ONE,
    "parallel": ScheduleOverlapPolicy.ALLOW_ALL,
    "cancel": ScheduleOverlapPolicy.CANCEL_OTHER,
}
# Runs that an outage of Temporal has missed are made up for, if they are no older than this.
_CATCH_UP_CRON, _CATCH_UP_ONCE = timedelta(hours=1), timedelta(days=1)
_ALL_DAYS, _ALL_WEEKDAYS = frozenset(range(1, 32)), frozenset(range(7))


def schedule_of(state: ScheduleState, *, paused: bool, note: str | None = None) -> Schedule:
    """The schedule as Temporal takes it."""
    is_once = state.at is not None
    return Schedule(
        action=ScheduleActionStartWorkflow(
            SCHEDULED_RESPONSE_WORKFLOW,
            state,
            # Temporal adds the time of the run.
            id=state.id,
            task_queue=TASK_QUEUE,
            task_timeout=WORKFLOW_TASK_TIMEOUT,
            static_summary="a scheduled response",
            typed_search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, state.tenant)]),
        ),
        spec=_spec(state),
        policy=SchedulePolicy(
            overlap=_OVERLAPS[state.overlap], catchup_window=_CATCH_UP_ONCE if is_once else _CATCH_UP_CRON
        ),
        state=TemporalState(note=note, paused=paused, limited_actions=is_once, remaining_actions=int(is_once)),
    )


async def create(temporal: Client, state: ScheduleState, *, paused: bool) -> None:
    """Raises RPCError; its status is INVALID_ARGUMENT for a time zone that Temporal does not know."""
    await temporal.create_schedule(
        state.id,
        schedule_of(state, paused=paused),
        search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, state.tenant)]),
    )


async def described(temporal: Client, schedule_id: str) -> ScheduleDescription | None:
    """None if there is no such schedule. Raises RPCError."""
    try:
        return await temporal.get_schedule_handle(schedule_id).describe()
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise


async def state_of(temporal: Client, description: ScheduleDescription) -> ScheduleState:
    """The state in the input of the runs."""
    action = description.schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow), "made by `create`"
    (state,) = await temporal.data_converter.decode(action.args, [ScheduleState])
    assert isinstance(state, ScheduleState)
    return state


async def ids_of(temporal: Client, tenant: str) -> list[str]:
    """The ids of a tenant's schedules. Raises RPCError, and ValueError for a tenant that no query can name."""
    found = []
    async for one in await temporal.list_schedules(f"{names.TENANT} = {literal(tenant)}"):
        # A database may take two names of tenants for one, by letters of another case for instance.
        if one.typed_search_attributes.get(TENANT) == tenant:
            found.append(one.id)
    return found


async def delete(temporal: Client, schedule_id: str) -> None:
    """Delete the schedule, and the records of its runs. A response that runs goes on. Raises RPCError."""
    try:
        await temporal.get_schedule_handle(schedule_id).delete()
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
    async for run in temporal.list_workflows(runs_of(schedule_id)):
        execution = Execution(workflow_id=run.id, run_id=run.run_id)
        try:
            await temporal.workflow_service.delete_workflow_execution(
                DeleteWorkflowExecutionRequest(namespace=temporal.namespace, workflow_execution=execution)
            )
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise


def runs_of(schedule_id: str) -> str:
    """The query for the runs of a schedule."""
    return f"WorkflowType = '{SCHEDULED_RESPONSE_WORKFLOW}' AND WorkflowId STARTS_WITH {literal(schedule_id)}"


def _spec(state: ScheduleState) -> ScheduleSpec:
    if state.at is not None:
        at = datetime.fromtimestamp(state.at, UTC)
        once = ScheduleCalendarSpec(
            second=_ranges([at.second]),
            minute=_ranges([at.minute]),
            hour=_ranges([at.hour]),
            day_of_month=_ranges([at.day]),
            month=_ranges([at.month]),
            year=_ranges([at.year]),
        )
        return ScheduleSpec(calendars=[once])
    assert state.cron is not None, "one of the two is checked before"
    cron = parse_cron(state.cron)
    days = [(cron.days, cron.weekdays)]
    if cron.either_day:
        days = [(cron.days, _ALL_WEEKDAYS), (_ALL_DAYS, cron.weekdays)]
    calendars = [
        ScheduleCalendarSpec(
            minute=_ranges(cron.minutes),
            hour=_ranges(cron.hours),
            day_of_month=_ranges(of_month),
            month=_ranges(cron.months),
            day_of_week=_ranges(of_week),
        )
        for of_month, of_week in days
    ]
    return ScheduleSpec(calendars=calendars, time_zone_name=state.timezone)


def _ranges(values: Iterable[int]) -> list[ScheduleRange]:
    """The values as ranges without gaps."""
    ranges: list[ScheduleRange] = []
    for value in sorted(values):
        if ranges and ranges[-1].end == value - 1:
            ranges[-1] = ScheduleRange(ranges[-1].start, value)
        else:
            ranges.append(ScheduleRange(value, value))
    return ranges
