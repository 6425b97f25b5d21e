"""Approvals, taken by the response that acts on them, at its start: the first takes one, for good.

Here and not in the API, so that a response that was never started has taken nothing. In Temporal, which forgets after
its retention, and in Redis, which remembers as long as the response lives.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy

from open_responses.io.approvals import holder_of
from open_responses.io.redis import RedisDown
from open_responses.io.store import ResponseStore
from open_responses.io.temporal import WorkflowAlreadyStartedError
from open_responses.loop.markdown import plain
from open_responses.payloads import (
    APPROVAL_WORKFLOW,
    CLAIM_APPROVALS,
    TASK_QUEUE,
    ApprovalClaim,
    ClaimInput,
    ClaimResult,
    Decision,
)
from open_responses.tool_items import approval_workflow_id

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClaimActivity:
    """The activity, with what it works on. Safe to run twice: what a response has taken, it has."""

    temporal: Client
    store: ResponseStore

    @activity.defn(name=CLAIM_APPROVALS)
    async def claim(self, call: ClaimInput) -> ClaimResult:
        """Raises RPCError while Temporal is away."""
        refused = []
        for decision in call.decisions:
            if not await self._take(call.response_id, decision):
                refused.append(decision.approval_request_id)
        return ClaimResult(refused=refused)

    async def _take(self, response_id: str, decision: Decision) -> bool:
        approval_id = decision.approval_request_id
        try:
            await self.temporal.start_workflow(
                APPROVAL_WORKFLOW,
                ApprovalClaim(response_id=response_id, decision=decision),
                id=approval_workflow_id(approval_id),
                task_queue=TASK_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"{'approved' if decision.approve else 'denied'}: {plain(decision.name)}",
            )
        except WorkflowAlreadyStartedError:
            if await holder_of(self.temporal, approval_id) != response_id:
                return False
        try:
            await self.store.keep_approval(approval_id, response_id)
        except RedisDown:
            log.info("approval_not_in_redis", response_id=response_id, approval=approval_id)
        return True
