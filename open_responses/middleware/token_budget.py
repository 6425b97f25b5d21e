"""A budget of tokens for one response, and for all responses of a tenant within a period."""

from __future__ import annotations

from collections.abc import AsyncIterator

from open_responses.contracts import Halt, Middleware, SampleContext, SampleNext
from open_responses.deltas import Delta, Finish
from open_responses.errors import TokenBudgetExceeded

_DAY = 24 * 3600


class TokenBudget(Middleware):
    """Ends a response as `failed`, with the code `token_budget_exceeded`, before a sample that starts above the budget.

    Tokens are input and output tokens together, as the provider counts them. They are counted when a sample ends, so
    the last sample may exceed the budget, and a sample that broke off is not counted. Redis keeps the tenant's count.
    Two entries with different windows, such as an hour and a day, are counted separately.

    Args:
        per_response: Tokens for one response; no limit if None.
        per_tenant: Tokens for all responses of a tenant within a window; no limit if None.
        window_seconds: The length of the window in seconds. It starts with the first sample that is counted.

    Raises:
        ValueError: Neither `per_response` nor `per_tenant` is given.
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
        """Check both budgets, pass the sample on, and count its tokens at its end."""
        used = context.used.input_tokens + context.used.output_tokens
        _check(used, self._per_response, "This response", "Send a new request with a smaller task.")
        if self._per_tenant is not None:
            _check(
                await self._add(context, 0),
                self._per_tenant,
                f"Tenant {context.tenant!r}",
                "Send the request again later.",
            )
        async for delta in call_next(context):
            if isinstance(delta, Finish) and self._per_tenant is not None:
                await self._add(context, delta.usage.input_tokens + delta.usage.output_tokens)
            yield delta

    async def _add(self, context: SampleContext, tokens: int) -> int:
        name = f"tokens:tenant:{context.tenant}:{self._window}"
        return await context.counters.add(name, tokens, ttl_seconds=self._window)


def _check(used: int, budget: int | None, who: str, then: str) -> None:
    if budget is not None and used >= budget:
        raise Halt(error=TokenBudgetExceeded(f"{who} has used {used:,} tokens of {budget:,}. {then}"))
