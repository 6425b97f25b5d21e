"""Reserves what a model turn sends from the budget of its API key, before it is sent.

What this prevents: an agent that runs for hours beyond its key's budget, because the budget was checked only at its
start; parallel requests that each find the budget unspent; and input that is not counted because the client cancels
before the provider has reported its usage.
"""

from __future__ import annotations

import structlog

from activities.sampling.attempt_state import AttemptState
from open_responses.context.tokens import about_input
from open_responses.contracts import SampleCall
from open_responses.errors import TokenBudgetExceeded
from open_responses.io.redis.client import RedisDown
from open_responses.io.redis.rate_limits import Quotas
from open_responses.schema.price import CostEstimate

log = structlog.get_logger(__name__)


async def reserve(quotas: Quotas, state: AttemptState, sampled: SampleCall) -> None:
    """Reserve it. Raises TokenBudgetExceeded for a model turn that is larger than the rest of the budget; the turn must
    not be sent then.

    While Redis does not answer, the turn goes on without a reservation: the response was admitted, and an outage ends
    no response.
    """
    start = state.context.start
    if start.admitted is None or not start.context_tokens:
        return
    used = state.attempt.call.used
    sent = used.total
    sent += about_input(sampled.items, sampled.request.instructions, sampled.tools)
    cost = CostEstimate()
    if start.admitted.budget_usd:
        await state.prices_ready()
        cost = state.estimate(sent - used.total, sampled.max_output_tokens or 0).behind(used.cost_usd or 0)
    try:
        refused = await quotas.charge(start.admitted, start.response_id, sent, sampled.max_output_tokens or 0, cost)
    except RedisDown as error:
        log.warning("turn_not_reserved", response_id=start.response_id, reason=str(error))
        return
    if refused is not None:
        admitted = start.admitted
        budget = f"${admitted.budget_usd:g}" if refused == "cost" else f"{admitted.budget_tokens} tokens"
        raise TokenBudgetExceeded(
            f"Your API key's budget of {budget} a {admitted.budget_period} does not have the tokens of model turn "
            f"{state.attempt.call.turn}, so the response ended before it. Continue it when the next "
            f"{admitted.budget_period} (UTC) begins."
        )
