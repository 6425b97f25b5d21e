"""Approvals that a request brings, held for its response until it has started.

What this prevents: a call that runs twice, because two requests brought one approval at the same moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from api.app_state import AppState
from api.errors import not_started
from api.responses.decisions import already_answered
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.approvals import is_used_otherwise
from open_responses.io.temporal.client import TemporalDown
from open_responses.loop.payloads.approvals import ApprovalClaim, Decision

# Longer than a start may take; after that, a hold that was not released ends by itself.
_HOLD_SECONDS = 60


async def hold(state: AppState, response_id: str, decisions: Iterable[Decision]) -> None:
    """Keep other requests off these approvals until the response has begun, and takes them
    (`activities/lifecycle/claim_approvals.py`).

    Raises Conflict for one that another response has taken or holds, and Unavailable; then none is held.
    """
    decisions = list(decisions)
    try:
        for decision in decisions:
            await _hold(state, response_id, decision)
    except BaseException:
        await let_go(state, response_id, decisions)
        raise


async def let_go(state: AppState, response_id: str, decisions: Iterable[Decision]) -> None:
    """The response was not started: another request may bring the same approvals."""
    for decision in decisions:
        with contextlib.suppress(*RedisDown):
            await state.store.let_go_of_approval(decision.approval_request_id, response_id)


async def _hold(state: AppState, response_id: str, decision: Decision) -> None:
    approval_request_id = decision.approval_request_id
    # Another request with the same Idempotency-Key has another nonce, and gets the response that has begun.
    own = ApprovalClaim.of(response_id, decision, None)
    with contextlib.suppress(*RedisDown):
        if not await state.store.hold_approval(approval_request_id, response_id, _HOLD_SECONDS):
            raise already_answered(approval_request_id)
    try:
        is_taken = await is_used_otherwise(state.temporal, own)
    except TemporalDown as error:
        raise not_started() from error
    if is_taken:
        raise already_answered(approval_request_id)
