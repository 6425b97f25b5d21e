"""Starts the deliveries of webhooks, reads them, and deletes those of a response.

A delivery is a workflow of its own, so that the end of a response depends on no receiver. Its id follows from the
event and the target: an event that is found twice, by a worker that was killed and by its successor, is sent as one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecution
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.client import STATUS, TENANT, WORKFLOW_TASK_TIMEOUT, WorkflowAlreadyStartedError
from open_responses.io.temporal.large_payloads import ERASED
from open_responses.io.temporal.visibility import literal
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.loop.payloads.start import StartResponse
from open_responses.webhooks.deliveries import (
    DELIVERY_MEMO,
    SEND_NOW,
    WEBHOOK_WORKFLOW,
    AnnounceInput,
    Delivery,
    deliveries_of,
    news_of_end,
)


async def start_deliveries(temporal: Client, deliveries: Iterable[Delivery]) -> None:
    """Start each delivery that was not started before. Raises RPCError."""
    for delivery in deliveries:
        try:
            await _start(temporal, delivery, WorkflowIDReusePolicy.REJECT_DUPLICATE)
        except WorkflowAlreadyStartedError:
            continue


async def announce_end(temporal: Client, start: StartResponse, response: JsonObject) -> None:
    """Start the deliveries of the end of a response whose workflow could not. Raises RPCError."""
    if start.webhooks:
        call = AnnounceInput(
            response_id=start.response_id,
            tenant=start.tenant,
            at=response.get("completed_at") or int(time.time()),
            is_stored=start.request.is_stored,
            targets=start.webhooks,
            news=news_of_end(response),
        )
        await start_deliveries(temporal, call.deliveries())


async def send_again(temporal: Client, delivery: Delivery) -> None:
    """Send an event once more: at once if its delivery waits, else by a new run of the delivery. Raises RPCError."""
    await _start(temporal, delivery.again(), WorkflowIDReusePolicy.ALLOW_DUPLICATE, signal=SEND_NOW)


async def _start(
    temporal: Client, delivery: Delivery, reuse: WorkflowIDReusePolicy, *, signal: str | None = None
) -> None:
    await temporal.start_workflow(
        WEBHOOK_WORKFLOW,
        delivery,
        id=delivery.id,
        task_queue=TASK_QUEUE,
        id_reuse_policy=reuse,
        id_conflict_policy=WorkflowIDConflictPolicy.UNSPECIFIED
        if signal is None
        else WorkflowIDConflictPolicy.USE_EXISTING,
        memo={DELIVERY_MEMO: delivery},
        search_attributes=TypedSearchAttributes(
            [SearchAttributePair(TENANT, delivery.tenant), SearchAttributePair(STATUS, delivery.status)]
        ),
        static_summary=delivery.type,
        task_timeout=WORKFLOW_TASK_TIMEOUT,
        start_signal=signal,
    )


async def delivery_of(run: WorkflowExecution) -> Delivery | None:
    """The delivery as its run's memo has it; None for one that cannot be read. Raises RPCError."""
    try:
        kept: Delivery | None = await run.memo_value(DELIVERY_MEMO, default=None, type_hint=Delivery)
    except ERASED:
        return None
    return kept


def of_response(response_id: str) -> str:
    """The term of a query for the deliveries of a response."""
    return f"WorkflowId STARTS_WITH {literal(deliveries_of(response_id))}"


async def forget_deliveries(temporal: Client, response_id: str) -> None:
    """Delete the deliveries of a response, those that wait included. Raises RPCError.

    One that starts at the same moment ends by itself: each attempt looks whether its response was deleted.
    """
    query = f"WorkflowType = '{WEBHOOK_WORKFLOW}' AND {of_response(response_id)}"
    async for run in temporal.list_workflows(query):
        execution = Execution(workflow_id=run.id, run_id=run.run_id)
        deletion = DeleteWorkflowExecutionRequest(namespace=temporal.namespace, workflow_execution=execution)
        try:
            await temporal.workflow_service.delete_workflow_execution(deletion)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
