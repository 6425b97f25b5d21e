"""Claims approvals for the response that acts on them: at its start, or at a live answer. The first claim is final.

The worker claims, and not the API, so that a response that was never started has claimed nothing.

If the record of a used approval were deleted before the response with the approval request, the approval could be used
a second time. Redis may lose the record, or never receive it. Temporal deletes a workflow as soon as its retention has
passed since its end, which may be within a day. The record is therefore a workflow that stays open until the approval
can no longer be found: Temporal starts it with a delay (docs/decisions/0029).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy

from open_responses.io.redis.client import RedisDown
from open_responses.io.store.approvals import is_used_otherwise
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.temporal.client import WorkflowAlreadyStartedError
from open_responses.loop.payloads.approvals import ApprovalClaim, ClaimInput, ClaimResult, Decision
from open_responses.loop.payloads.names import APPROVAL_WORKFLOW, CLAIM_APPROVALS, TASK_QUEUE
from open_responses.tool_use.tool_items import approval_workflow_id

log = structlog.get_logger(__name__)

# Temporal may delete the history of the response with the approval request somewhat later than its retention says: it
# spreads deletions over half an hour, and a workflow whose workers were down closes after its end was announced.
_LONGER_THAN_THE_RESPONSE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ClaimActivity:
    """The activity, with the clients that it uses. Safe to run twice: a response keeps what it has claimed."""

    temporal: Client
    store: ResponseStore

    @activity.defn(name=CLAIM_APPROVALS)
    async def claim(self, call: ClaimInput) -> ClaimResult:
        """Claim each approval. Returns the ids of those that another response has.

        Raises RPCError if Temporal is away.
        """
        refused = []
        for decision in call.decisions:
            if not await self._take(call, decision):
                refused.append(decision.approval_request_id)
        return ClaimResult(refused=refused)

    async def _take(self, call: ClaimInput, decision: Decision) -> bool:
        response_id, approval_id = call.response_id, decision.approval_request_id
        claim = ApprovalClaim.of(response_id, decision, call.nonce)
        try:
            await self.temporal.start_workflow(
                APPROVAL_WORKFLOW,
                claim,
                id=approval_workflow_id(approval_id),
                task_queue=TASK_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                start_delay=timedelta(seconds=self.store.ttl_seconds) + _LONGER_THAN_THE_RESPONSE,
                static_summary="approved" if decision.approve else "denied",
            )
        except WorkflowAlreadyStartedError:
            if await is_used_otherwise(self.temporal, claim):
                return False
        try:
            await self.store.keep_approval(approval_id, response_id)
        except RedisDown:
            log.info("approval_not_in_redis", response_id=response_id, approval=approval_id)
        return True
