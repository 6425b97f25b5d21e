"""What the failure of an activity means for its response."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads import Ending, TurnUsage


def failure(error: ActivityError) -> Ending:
    """The code that a client can act on, as the activity mapped it."""
    cause = error.cause
    while cause is not None and not isinstance(cause, ApplicationError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ApplicationError):
        return Ending(status="failed", error_code=cause.type or "server_error", error_message=cause.message)
    return Ending(status="failed", error_message=str(cause or error))


def paid_in(error: ActivityError) -> TurnUsage:
    """What the turn of a sample that failed has cost, as far as the sample could say."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        for said in cause.details:
            if isinstance(said, dict) and said.get("usage"):
                return TurnUsage.model_validate(said["usage"])
    return TurnUsage()


def provider_is_down(error: ActivityError) -> bool:
    """Whether another provider may do better: the sample says so, or it never came to an end."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return any(isinstance(said, dict) and said.get("provider_is_down") for said in cause.details)
    return isinstance(cause, TimeoutError) and cause.type != TimeoutType.SCHEDULE_TO_START
