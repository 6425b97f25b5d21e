"""The record in Temporal that a response used an approval: a workflow whose id can be taken once."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.large_payloads import ERASED
from open_responses.loop.payloads import ApprovalClaim
from open_responses.tool_use.tool_items import approval_workflow_id


async def is_used_otherwise(client: Client, own: ApprovalClaim) -> bool:
    """Whether another response used the approval, or this one with another answer. Raises RPCError while Temporal is
    away.

    Args:
        own: What this response has claimed, or is to claim. Its nonce is None if the response has not begun: then the
            ids are compared without it.

    Reads the first event of the record's history, which is there before the record was run.
    """
    handle = client.get_workflow_handle(approval_workflow_id(own.decision.approval_request_id))
    try:
        async for event in handle.fetch_history_events(page_size=1):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            (claim,) = await client.data_converter.decode(payloads, [ApprovalClaim])
            assert isinstance(claim, ApprovalClaim)
            return not claim.agrees_with(own)
    except ERASED:
        # Its key was retired since: the approval was used long before this response began.
        return True
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
    return False
