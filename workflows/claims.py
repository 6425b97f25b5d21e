"""Claims approvals for this response, for as long as the response is not stopped.

A claim is retried without limit while Temporal does not answer. The response must still end at `cancel` and at
its deadline.
"""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads.approvals import ClaimInput, Decision
    from workflows import calls
    from workflows.patches import patched
    from workflows.state import ResponseState
    from workflows.tasks import current_task, next_task_in_order

ENDS_WITH_THE_STOP = "a-claim-ends-with-the-stop"
"""The patch. Runs that earlier versions began wait for their claims without limit."""


async def claimed_elsewhere(state: ResponseState, decisions: Sequence[Decision]) -> frozenset[str] | None:
    """Claim the approvals in one activity. Returns the ids of those that another response has.

    Returns None if the response was stopped first. The workflow must not run a call then, although the claim may have
    been stored.
    """
    start = state.start
    call = ClaimInput(response_id=start.response_id, decisions=list(decisions), nonce=start.nonce)
    if not patched(ENDS_WITH_THE_STOP):
        return frozenset((await calls.start_claim(call)).refused)
    if state.is_stopping():
        return None
    claim = calls.start_claim(call)
    await workflow.wait_condition(lambda: claim.done() or state.is_stopping())
    if not claim.done():
        claim.cancel()
        return None
    return frozenset((await claim).refused)


async def stopped_before_next_task(state: ResponseState) -> bool:
    """Wait until the claims are in history. Returns whether the response was stopped in the meantime.

    A repeated task claims again, and a stop that arrived after the first claim may be handled before the second claim
    returns. Therefore the workflow publishes no consequence of a claim in the same task. A stop in the task in which
    this function returns counts as later, because the first run of that task may have begun the calls.
    """
    await next_task_in_order()
    return state.is_stopping() and state.stopped_in != current_task()
