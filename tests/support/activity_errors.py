"""The error that a workflow gets for an activity that failed, as the SDK builds it."""

from __future__ import annotations

from temporalio.exceptions import ActivityError


def failed(cause: BaseException | None) -> ActivityError:
    """The failure of an activity whose last attempt raised `cause`."""
    error = ActivityError(
        "activity error",
        scheduled_event_id=1,
        started_event_id=2,
        identity="worker",
        activity_type="sample",
        activity_id="1",
        retry_state=None,
    )
    error.__cause__ = cause
    return error
