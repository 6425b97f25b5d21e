"""The approvals that a running response waits for, from the end of its history.

The calls of a model turn wait within that turn, so the newest complete model turn has requested them. This reads
history without a worker: a response may wait for days, and a query would make a worker replay it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client

from open_responses.io.temporal.large_payloads import ERASED
from open_responses.loop.payloads.approvals import ApprovalAnswer
from open_responses.loop.payloads.names import SAMPLE
from open_responses.loop.payloads.sample import SampleResult

_PAGE = 50


@dataclass(frozen=True, slots=True)
class PendingApproval:
    """A call that waits for a person. `requested_at` is in Unix seconds."""

    id: str
    tool: str
    arguments: str
    server_label: str
    requested_at: float


async def pending_approvals(temporal: Client, response_id: str, run_id: str) -> list[PendingApproval]:
    """The approvals that are not answered, in the order of the output. Raises RPCError."""
    answered: set[str] = set()
    results: dict[int, HistoryEvent] = {}
    async for event in _newest_first(temporal, response_id, run_id):
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
            answered |= await _answered(temporal, event)
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            results[event.activity_task_completed_event_attributes.scheduled_event_id] = event
        elif event.event_id in results:
            if event.activity_task_scheduled_event_attributes.activity_type.name != SAMPLE:
                continue
            result = await _result(temporal, results[event.event_id])
            # A sample that broke, or was lost, is followed by another attempt at the same turn.
            if result is None or result.outcome == "done":
                requested_at = _seconds(results[event.event_id])
                return [] if result is None else _requested(result, requested_at, answered)
    return []


async def _newest_first(temporal: Client, response_id: str, run_id: str) -> AsyncIterator[HistoryEvent]:
    page = b""
    while True:
        answer = await temporal.workflow_service.get_workflow_execution_history_reverse(
            GetWorkflowExecutionHistoryReverseRequest(
                namespace=temporal.namespace,
                execution=WorkflowExecution(workflow_id=response_id, run_id=run_id),
                maximum_page_size=_PAGE,
                next_page_token=page,
            )
        )
        for event in answer.history.events:
            yield event
        page = answer.next_page_token
        if not page:
            return


async def _answered(temporal: Client, event: HistoryEvent) -> set[str]:
    request = event.workflow_execution_update_accepted_event_attributes.accepted_request
    if request.input.name != "answer_approval":
        return set()
    try:
        (answer,) = await temporal.data_converter.decode(list(request.input.args.payloads), [ApprovalAnswer])
    except (*ERASED, ValueError):
        return set()
    return {answer.approval_request_id}


def _requested(result: SampleResult, requested_at: float, answered: set[str]) -> list[PendingApproval]:
    return [
        PendingApproval(item["id"], item["name"], item["arguments"], item["server_label"], requested_at)
        for item in result.items
        if item.get("type") == "mcp_approval_request" and item["id"] not in answered
    ]


async def _result(temporal: Client, completed: HistoryEvent) -> SampleResult | None:
    payloads = list(completed.activity_task_completed_event_attributes.result.payloads)
    try:
        (result,) = await temporal.data_converter.decode(payloads, [SampleResult])
    except (*ERASED, ValueError):
        return None
    return result if isinstance(result, SampleResult) else None


def _seconds(event: HistoryEvent) -> float:
    return event.event_time.seconds + event.event_time.nanos / 1e9
