"""The record that an approval was used: one workflow for each, whose id can be taken only once."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads import APPROVAL_WORKFLOW, ApprovalClaim


@workflow.defn(name=APPROVAL_WORKFLOW)
class ApprovalWorkflow:
    """Does nothing but exist, where an operator can see which response used the approval. It is started with a delay,
    and runs when the approval can no longer be found (activities/lifecycle/claim_approvals.py)."""

    @workflow.run
    async def run(self, claim: ApprovalClaim) -> ApprovalClaim:
        # A claim of an earlier version has all of the call.
        return ApprovalClaim.of(claim.response_id, claim.decision, claim.nonce)
