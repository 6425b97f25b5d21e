"""A ceiling on tokens: for one response, and for all of a tenant's within a window of time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from open_responses.contracts import Counters, Halt, Middleware, SampleContext, SampleNext
from open_responses.deltas import Delta, Finish, Usage
from open_responses.errors import TokenBudgetExceeded

_DAY = 24 * 3600


class TokenBudget(Middleware):
    """Ends a response as `failed`, with the code `token_budget_exceeded`, before the sample that would begin above it.

    Tokens are input and output together, as the provider counts them. They are counted when a sample ends, so that the
    last one may go over; and what a sample that broke off has used, no provider tells.
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
        await self._check(context.counters, self._of_response(context), self._per_response, "This response")
        await self._check(context.counters, self._of_tenant(context), self._per_tenant, f"Tenant {context.tenant!r}")
        async for delta in call_next(context):
            if isinstance(delta, Finish):
                await self._count(context, delta.usage)
            yield delta

    async def _check(self, counters: Counters, name: str, budget: int | None, who: str) -> None:
        if budget is None:
            return
        used = await counters.add(name, 0, ttl_seconds=self._window)
        if used >= budget:
            raise Halt(error=TokenBudgetExceeded(f"{who} has used {used:,} tokens of {budget:,}."))

    async def _count(self, context: SampleContext, usage: Usage) -> None:
        used = usage.input_tokens + usage.output_tokens
        if self._per_response is not None:
            await context.counters.add(self._of_response(context), used, ttl_seconds=self._window)
        if self._per_tenant is not None:
            await context.counters.add(self._of_tenant(context), used, ttl_seconds=self._window)

    def _of_response(self, context: SampleContext) -> str:
        return f"tokens:response:{context.response_id}"

    def _of_tenant(self, context: SampleContext) -> str:
        return f"tokens:tenant:{context.tenant}"
