"""Who acted on an approval: the record in Temporal, a workflow whose id can be taken once."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from open_responses.payloads import ApprovalClaim
from open_responses.tool_items import approval_workflow_id


async def holder_of(client: Client, approval_request_id: str) -> str | None:
    """The id of the response that took it; None for nobody. Raises RPCError while Temporal is away.

    From the first event of the record's history, which is there before the record was run.
    """
    handle = client.get_workflow_handle(approval_workflow_id(approval_request_id))
    try:
        async for event in handle.fetch_history_events(page_size=1):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            (claim,) = await client.data_converter.decode(payloads, [ApprovalClaim])
            assert isinstance(claim, ApprovalClaim)
            return claim.response_id
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
    return None
