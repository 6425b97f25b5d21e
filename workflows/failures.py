"""Maps the failure of an activity to the ending of its response, its usage, and the decision to fall back."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, TimeoutError, TimeoutType

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.error_advice import with_advice
    from open_responses.loop.payloads.ending import Ending
    from open_responses.loop.payloads.usage import TurnUsage


def failure(error: ActivityError) -> Ending:
    """The failed ending, with the error code that the activity set."""
    cause = error.cause
    while cause is not None and not isinstance(cause, ApplicationError) and cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, ApplicationError):
        code = cause.type or "server_error"
        return Ending(status="failed", error_code=code, error_message=with_advice(code, cause.message))
    return Ending(status="failed", error_message=with_advice("server_error", str(cause or error)))


def paid_in(error: ActivityError) -> TurnUsage:
    """The usage of a failed sample's model turn, as far as the sample reported it."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        for detail in cause.details:
            if isinstance(detail, dict) and detail.get("usage"):
                return TurnUsage.model_validate(detail["usage"])
    return TurnUsage()


def provider_is_down(error: ActivityError) -> bool:
    """Whether another provider may succeed: the sample's error says so, or the sample timed out."""
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return any(isinstance(detail, dict) and detail.get("provider_is_down") for detail in cause.details)
    return isinstance(cause, TimeoutError) and cause.type != TimeoutType.SCHEDULE_TO_START
