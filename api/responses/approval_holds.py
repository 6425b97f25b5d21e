"""Approvals that a request brings, held for its response until it has started.

What this prevents: a call that runs twice, because two requests brought one approval at the same moment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable

import orjson

from api.app_state import AppState
from api.errors import not_started
from api.responses.decisions import already_answered
from open_responses.errors import Conflict
from open_responses.io.redis.client import RedisDown
from open_responses.io.store.approvals import claim_of, is_used_otherwise
from open_responses.io.temporal.client import TemporalDown
from open_responses.io.temporal.large_payloads import ERASED
from open_responses.loop.payloads.approvals import ApprovalClaim, Decision

# Longer than a start may take; after that, a hold that was not released ends by itself.
_HOLD_SECONDS = 60


async def hold(
    state: AppState, response_id: str, decisions: Iterable[Decision], of_programs: Collection[str | None] = ()
) -> None:
    """Keep other requests off these approvals until the response has begun, and takes them
    (`activities/lifecycle/claim_approvals.py`).

    `of_programs` are the approvals for which programs wait. Such a program waits again if the response that has taken
    its approval was stopped or has failed: it goes on without the call.

    Raises Conflict for one that another response has taken or holds, and Unavailable; then none is held.
    """
    decisions = list(decisions)
    try:
        for decision in decisions:
            try:
                await _hold(state, response_id, decision)
            except Conflict:
                approval_id = decision.approval_request_id
                if approval_id not in of_programs or not await _waits_again(state, approval_id):
                    raise
    except BaseException:
        await let_go(state, response_id, decisions)
        raise


async def _waits_again(state: AppState, approval_request_id: str) -> bool:
    """Whether the response that has taken a program's approval ended without an output that others continue."""
    try:
        claim = await claim_of(state.temporal, approval_request_id)
    except ERASED:
        return False
    except TemporalDown as error:
        raise not_started() from error
    if claim is None:
        return False
    record = await state.records.load(claim.response_id)
    if record is None:
        return True
    ended = (await state.records.settled(record, decided=True)).response
    return ended is not None and orjson.loads(ended)["status"] in ("failed", "cancelled")


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
