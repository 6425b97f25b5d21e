"""The JSON bodies of schedules, as types. They are not validated at run time: see `output_items.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from open_responses.json_types import JsonObject


class Schedule(TypedDict):
    """A schedule. Times are in Unix seconds. `request` is without secrets; null if it cannot be opened any more."""

    object: Literal["schedule"]
    id: str
    name: str | None
    status: Literal["active", "paused", "ended"]
    note: str | None
    cron: str | None
    timezone: str | None
    at: int | None
    overlap: Literal["skip", "queue", "parallel", "cancel"]
    request: JsonObject | None
    metadata: JsonObject
    api_key_id: str | None
    created_at: int
    updated_at: int
    next_runs: Sequence[int]
    run_count: int
    skipped_count: int
    missed_count: int


class SchedulePage(TypedDict):
    """A page of schedules."""

    object: Literal["list"]
    data: Sequence[Schedule]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ScheduleRun(TypedDict):
    """A run of a schedule. `response_id` is null until its response has begun, and if it never does."""

    object: Literal["schedule.run"]
    id: str
    schedule_id: str
    started_at: float
    status: Literal["starting", "running", "ended", "refused", "cancelled"]
    response_id: str | None
    response_status: str | None
    ended_at: float | None
    error_code: str | None
    error_message: str | None


class ScheduleRunPage(TypedDict):
    """A page of runs. `last_id`, sent as `after`, gets the next page."""

    object: Literal["list"]
    data: Sequence[ScheduleRun]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedSchedule(TypedDict):
    """The answer to the deletion of a schedule."""

    id: str
    object: Literal["schedule.deleted"]
    deleted: Literal[True]
