"""The record of a used approval in Temporal: a workflow whose id follows from the approval, so that only one starts."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.large_payloads import ERASED
from open_responses.loop.payloads.approvals import ApprovalClaim
from open_responses.tool_use.tool_items import approval_workflow_id


async def is_used_otherwise(client: Client, own: ApprovalClaim) -> bool:
    """Whether another response used the approval, or this one with another decision.

    Args:
        client: The Temporal client.
        own: The claim of this response. Its nonce is None before the response begins; the ids are then compared without
            it.

    Raises:
        RPCError: Temporal cannot be reached.
    """
    try:
        claim = await claim_of(client, own.decision.approval_request_id)
    except ERASED:
        # The record's encryption key was retired, so the approval was used long before this response began.
        return True
    return claim is not None and not claim.agrees_with(own)


async def claim_of(client: Client, approval_request_id: str) -> ApprovalClaim | None:
    """The record of a used approval; None if there is none.

    Reads the first event of the record's history, which exists before a worker runs the workflow. Raises RPCError if
    Temporal cannot be reached, and one of `ERASED` if the record cannot be decrypted any more.
    """
    handle = client.get_workflow_handle(approval_workflow_id(approval_request_id))
    try:
        async for event in handle.fetch_history_events(page_size=1):
            payloads = event.workflow_execution_started_event_attributes.input.payloads
            (claim,) = await client.data_converter.decode(payloads, [ApprovalClaim])
            assert isinstance(claim, ApprovalClaim)
            return claim
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
    return None
