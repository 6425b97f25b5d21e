"""Maps our error tree to Temporal's retries: the one place that decides whether another attempt can help."""

from __future__ import annotations

from datetime import timedelta

from temporalio.exceptions import ApplicationError

from open_responses.errors import OpenResponsesError, ProviderAnswerRefused
from open_responses.loop.payloads.usage import TurnUsage


def backoff_seconds(attempt: int) -> float:
    """Temporal's own pause after this attempt, in seconds (`workflows/calls.py`)."""
    return min(30.0, 2.0 ** (attempt - 1))


def to_application_error(
    error: OpenResponsesError,
    *,
    seconds_left: float,
    attempt: int = 1,
    longest_pause: float | None = None,
    final: bool = False,
    paid: TurnUsage | None = None,
) -> ApplicationError:
    """The error for Temporal; its `type` is our error code.

    It is retryable while the window lasts. With a `Retry-After` beyond the window it is final at once. `longest_pause`
    bounds Temporal's own back-off. `final`: the workflow must not try another provider either. `paid`: the usage of the
    failed sample's model turn.
    """
    delay = error.retry_after
    retryable = error.retryable and seconds_left > (delay or 0)
    if retryable and delay is None and longest_pause is not None and backoff_seconds(attempt) > longest_pause:
        delay = longest_pause
    return ApplicationError(
        error.message,
        # Whether another provider may succeed. The workflow reads this after the last attempt at this provider.
        {
            "provider_is_down": (error.retryable or isinstance(error, ProviderAnswerRefused)) and not final,
            "usage": None if paid is None else paid.model_dump(),
        },
        type=error.error_code,
        non_retryable=not retryable,
        next_retry_delay=timedelta(seconds=delay) if retryable and delay is not None else None,
    )
