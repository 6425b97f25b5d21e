"""The entry of a list for one response, from what Temporal's visibility has of its run. Its content is not read.

The tokens are in the run's memo, which the list has as well. The search attributes are read where a run has no memo.
"""

from __future__ import annotations

from typing import Literal, cast

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey

from api.operations.temporal_ui import run_url
from open_responses.io.settings import Settings
from open_responses.io.store.outside_ends import ending_of
from open_responses.io.temporal.client import MODEL, PREVIOUS, PROVIDER, STATUS, TENANT
from open_responses.io.temporal.usage_memo import usage_of
from open_responses.json_types import JsonObject
from open_responses.loop import search_attributes as names
from open_responses.schema.operation_bodies import ResponseSummary

CONVERSATION = SearchAttributeKey.for_keyword(names.CONVERSATION)
ERROR_CODE = SearchAttributeKey.for_keyword(names.ERROR_CODE)
TOOLS = SearchAttributeKey.for_keyword_list(names.TOOLS)
TOKENS = SearchAttributeKey.for_int(names.TOKENS)
COST_USD = SearchAttributeKey.for_float(names.COST_USD)

_Status = Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]
_Waits = Literal["approval", "retry"]

_WAITS_FOR: dict[str, _Waits] = {names.AWAITING_APPROVAL: "approval", names.RETRYING: "retry"}
_FINAL: tuple[_Status, ...] = ("completed", "incomplete", "failed", "cancelled")


async def summary_of(settings: Settings, run: WorkflowExecution) -> JsonObject:
    """The `response.summary` of a run. What a run of an earlier version does not have is null."""
    has = run.typed_search_attributes
    status, error_code = _status_of(run)
    record = await usage_of(run)
    usage = None if record is None else record.usage
    summary: ResponseSummary = {
        "id": run.id,
        "object": "response.summary",
        "status": status,
        "model": has.get(MODEL),
        "provider": has.get(PROVIDER),
        "tenant": has.get(TENANT),
        "created_at": run.start_time.timestamp(),
        "ended_at": None if run.close_time is None else run.close_time.timestamp(),
        "error_code": error_code,
        "conversation": has.get(CONVERSATION),
        "previous_response_id": has.get(PREVIOUS),
        "tools": list(has.get(TOOLS) or []),
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "total_tokens": has.get(TOKENS) if usage is None else usage.total,
        "cost_usd": has.get(COST_USD) if usage is None else usage.whole_cost,
        "waiting_for": _WAITS_FOR.get(has.get(STATUS) or "") if run.status == WorkflowExecutionStatus.RUNNING else None,
        "temporal_url": run_url(settings, run.namespace, run.id, run.run_id),
    }
    return cast(JsonObject, summary)


def _status_of(run: WorkflowExecution) -> tuple[_Status, str | None]:
    """The response's status, and its error's code."""
    has = run.typed_search_attributes
    shown, code = has.get(STATUS), has.get(ERROR_CODE)
    for final in _FINAL:
        if shown == final:
            # The attribute is set a moment before the run closes.
            return final, code
    if run.status == WorkflowExecutionStatus.RUNNING:
        return "in_progress", None
    ending = ending_of(run.status)
    if ending is not None:
        return ending.status, ending.error_code if ending.status == "failed" else None
    return ("failed" if run.status == WorkflowExecutionStatus.FAILED else "completed"), code
