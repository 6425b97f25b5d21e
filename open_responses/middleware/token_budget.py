"""A ceiling on tokens: for one response, and for all of a tenant's within a window of time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from open_responses.contracts import Halt, Middleware, SampleContext, SampleNext
from open_responses.deltas import Delta, Finish
from open_responses.errors import TokenBudgetExceeded

_DAY = 24 * 3600


class TokenBudget(Middleware):
    """Ends a response as `failed`, with the code `token_budget_exceeded`, before the sample that would begin above it.

    Tokens are input and output together, as the provider counts them. They are counted when a sample ends, so that the
    last one may go over; and what a sample that broke off has used, no provider tells. `per_response` goes by the
    response's own usage; `per_tenant` is counted in Redis, per window: several entries, an hour's and a day's say, do
    not disturb each other if their windows differ.
    """

    def __init__(
        self, per_response: int | None = None, per_tenant: int | None = None, window_seconds: int = _DAY
    ) -> None:
        if per_response is None and per_tenant is None:
            raise ValueError("give per_response, per_tenant, or both: a number of tokens")
        self._per_response = per_response
        self._per_tenant = per_tenant
        self._window = window_seconds

    async def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        used = context.used.input_tokens + context.used.output_tokens
        _check(used, self._per_response, "This response")
        if self._per_tenant is not None:
            _check(await self._add(context, 0), self._per_tenant, f"Tenant {context.tenant!r}")
        async for delta in call_next(context):
            if isinstance(delta, Finish) and self._per_tenant is not None:
                await self._add(context, delta.usage.input_tokens + delta.usage.output_tokens)
            yield delta

    async def _add(self, context: SampleContext, tokens: int) -> int:
        name = f"tokens:tenant:{context.tenant}:{self._window}"
        return await context.counters.add(name, tokens, ttl_seconds=self._window)


def _check(used: int, budget: int | None, who: str) -> None:
    if budget is not None and used >= budget:
        raise Halt(error=TokenBudgetExceeded(f"{who} has used {used:,} tokens of {budget:,}."))
