"""The activities as the workflow calls them: by name, typed, with their time limits, in one place."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from open_responses.payloads import FINISH, SAMPLE, FinishInput, FinishResult, SampleInput, SampleResult

# The slow backstop behind the leases: a worker that died while Redis was away.
_HEARTBEAT_TIMEOUT = timedelta(seconds=60)
_LONGEST_SAMPLE = timedelta(hours=6)
_LONGEST_FINISH = timedelta(seconds=60)


def start_sample(call: SampleInput) -> workflow.ActivityHandle[SampleResult]:
    """One turn of the model. Retries are bounded by the sample itself, in time."""
    return workflow.start_activity(
        SAMPLE,
        call,
        result_type=SampleResult,
        summary=f"sample {call.upstream_model} · turn {call.turn}",
        start_to_close_timeout=_LONGEST_SAMPLE,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
        ),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


async def finish(call: FinishInput) -> FinishResult:
    """Store, then announce. Local: its input holds the whole output and is not to be in history a second time."""
    result: FinishResult = await workflow.execute_local_activity(
        FINISH,
        call,
        result_type=FinishResult,
        schedule_to_close_timeout=_LONGEST_FINISH,
        start_to_close_timeout=timedelta(seconds=15),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2)),
    )
    return result
