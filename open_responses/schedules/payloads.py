"""The payloads of schedules: what Temporal starts each run with, and what becomes of a run."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from open_responses.schema.payload import Payload

SCHEDULED_RESPONSE_WORKFLOW = "ScheduledResponseWorkflow"
API_TASK_QUEUE = "open-responses-api"
"""The queue of the activities that the API's processes run: a start passes the API's own checks."""
START_SCHEDULED = "start_scheduled_response"
HAS_ENDED = "scheduled_response_has_ended"
SCHEDULED_RESPONSE_ENDED = "response_ended"
"""The signal that a response sends to its run when it has ended. Its argument is the response's status."""
RUN_MEMO = "open_responses_scheduled_run"
"""The name of a `ScheduledRun` in the memo of its workflow: lists read it without a worker."""

_SCHEDULE_ID = re.compile(r"sched_[0-9a-f]{48}")
_RESPONSE_DIGITS = 48

Overlap = Literal["skip", "queue", "parallel", "cancel"]


class ScheduleLimits(BaseModel):
    """The `[schedules]` table.

    Attributes:
        max_per_tenant: The most schedules of a tenant.
        min_interval_seconds: The shortest time between two runs of a cron expression.
        start_patience_seconds: The time for which a run is tried again where a limit of its key, or an outage, holds it
            up.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_per_tenant: int = Field(default=100, ge=0, le=10_000)
    min_interval_seconds: int = Field(default=60, ge=60, le=24 * 3600)
    start_patience_seconds: float = Field(default=3600, ge=1, le=24 * 3600)


class ScheduleState(Payload):
    """A schedule, as each of its runs gets it. Times are in Unix seconds.

    Attributes:
        id: The id of the schedule in Temporal.
        tenant: The owner.
        key_id: The API key whose scopes, limits and budget the runs have; empty on a server without keys.
        sealed: The request as JSON, sealed for the schedule's id.
        cron: The expression; None for a schedule that runs once.
        timezone: The time zone of the expression.
        at: The time of the only run.
        overlap: What happens at a time at which an earlier run goes on.
        patience_seconds: As in `[schedules]`, when the schedule was written.
    """

    id: str
    tenant: str
    key_id: str = ""
    name: str | None = None
    sealed: str
    cron: str | None = None
    timezone: str = "UTC"
    at: int | None = None
    overlap: Overlap = "skip"
    metadata: dict[str, str] = {}
    created_at: int
    updated_at: int
    patience_seconds: float = 3600


class StartScheduled(Payload):
    """The input of the activity that starts a run's response. `run_id` is the id of the run's workflow."""

    schedule: ScheduleState
    run_id: str
    response_id: str


class StartedScheduled(Payload):
    """Its result: the response has begun, or the reason why it never will."""

    error_code: str | None = None
    error_message: str | None = None


RunStatus = Literal["starting", "running", "ended", "refused", "cancelled"]


class ScheduledRun(Payload):
    """One run of a schedule. `response_id` is None until its response has begun, and if it never does."""

    id: str
    schedule_id: str
    started_at: float
    status: RunStatus = "starting"
    response_id: str | None = None
    response_status: str | None = None
    ended_at: float | None = None
    error_code: str | None = None
    error_message: str | None = None


def is_schedule_id(text: str) -> bool:
    """Return whether a text has the form of a schedule's id."""
    return _SCHEDULE_ID.fullmatch(text) is not None


def response_id_of(workflow_id: str, run_id: str) -> str:
    """Return the id of a run's response. An attempt that is repeated starts no second one."""
    return "resp_" + hashlib.sha256(f"{workflow_id} {run_id}".encode()).hexdigest()[:_RESPONSE_DIGITS]
