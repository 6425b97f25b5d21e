"""Writes a response's usage into the memo of its run. A list of runs has the memos, and the counts in Redis are rebuilt
from them."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads.finish import USAGE_MEMO, UsageRecord
    from open_responses.loop.payloads.start import StartResponse
    from open_responses.loop.payloads.usage import TurnUsage


def remember_usage(start: StartResponse, status: str, usage: TurnUsage | None) -> None:
    """Add the usage to the run's memo, once the response has ended."""
    if start.keeps_usage:
        workflow.upsert_memo({USAGE_MEMO: UsageRecord.of(start, status, usage)})
