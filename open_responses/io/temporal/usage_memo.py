"""What a response used, in the memo of its run: a list of runs has the usage of each without a read of its history."""

from __future__ import annotations

from temporalio.client import WorkflowExecution

from open_responses.io.temporal.large_payloads import ERASED
from open_responses.loop.payloads.finish import USAGE_MEMO, UsageRecord


async def usage_of(run: WorkflowExecution) -> UsageRecord | None:
    """The record of a run that has ended; None for one of an earlier version, and for one that cannot be read."""
    try:
        kept: UsageRecord | None = await run.memo_value(USAGE_MEMO, default=None, type_hint=UsageRecord)
    except ERASED:
        return None
    return kept
