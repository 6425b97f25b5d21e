"""The record that an approval was used: one workflow for each, whose id can be used only once."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads.approvals import ApprovalClaim
    from open_responses.loop.payloads.names import APPROVAL_WORKFLOW


@workflow.defn(name=APPROVAL_WORKFLOW)
class ApprovalWorkflow:
    """A record without work of its own: it shows an operator which response used the approval.

    It is started with a delay, and runs when the approval can no longer be found
    (activities/lifecycle/claim_approvals.py).
    """

    @workflow.run
    async def run(self, claim: ApprovalClaim) -> ApprovalClaim:
        # A claim that an earlier version wrote contains the whole call.
        return ApprovalClaim.of(claim.response_id, claim.decision, claim.nonce)
