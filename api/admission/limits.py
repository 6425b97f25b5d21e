"""The limits of an API key: requests and tokens a minute, responses at a time, budgets of tokens and of US dollars.

Rates and slots are checked before a response starts, and not again. Budgets are checked again before each model turn
(`activities/sampling/budget.py`), which may end the response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from temporalio.common import Priority
from temporalio.service import RPCError

from api.admission.estimates import Continues, context_tokens
from api.admission.overload import Overload
from open_responses.config import Config, ProviderConfig
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import OpenResponsesError, PermissionDenied, RateLimited, TokenBudgetExceeded
from open_responses.io.background import in_background
from open_responses.io.metrics import recording as metrics
from open_responses.io.prices.price_table import PriceTable
from open_responses.io.redis.client import RedisDown
from open_responses.io.redis.rate_limits import Quotas, Standing, Used
from open_responses.io.store.repository import Records
from open_responses.io.store.used_tokens import used_by
from open_responses.loop.payloads.finish import FinishedResponse
from open_responses.loop.payloads.start import Admitted, StartResponse
from open_responses.schema.price import NANO, CostEstimate

log = structlog.get_logger(__name__)

# Under overload, a key may still have this many responses running.
_FEW = 10
# The time until a slot is free is unknown. The openai SDK waits this long before each of its two
# retries.
_PLACE_WAIT_SECONDS = 2.0
_PRIORITIES = {"priority": 1, "flex": 5}
_DEFAULT_PRIORITY = 3
# Temporal's limit, in bytes.
_LONGEST_FAIRNESS_KEY = 64


def priority_of(config: Config, start: StartResponse) -> Priority:
    """The Temporal priority of a response's tasks: first by `service_tier` (REQ-8), then by the tenant's weight.

    Activities inherit it from their workflow.
    """
    return Priority(
        priority_key=_PRIORITIES.get(start.request.service_tier or "", _DEFAULT_PRIORITY),
        fairness_key=start.tenant.encode()[:_LONGEST_FAIRNESS_KEY].decode(errors="ignore"),
        fairness_weight=config.weight_of(start.tenant),
    )


class Admission:
    """Counts responses against their keys' limits, and frees slots whose response ended without giving them back."""

    def __init__(self, quotas: Quotas, records: Records, prices: PriceTable) -> None:
        self._prices = prices
        self._quotas = quotas
        self._records = records
        self._chores: set[asyncio.Task[None]] = set()

    def with_providers(self, providers: Sequence[ProviderConfig]) -> Admission:
        """The same counts, with the prices of a configuration that has these providers."""
        return Admission(self._quotas, self._records, self._prices.with_providers(providers))

    async def admit(
        self,
        key: ApiKeyConfig | None,
        headers: dict[str, str],
        start: StartResponse,
        overload: Overload | None,
        continues: Continues,
    ) -> StartResponse:
        """Reserve a slot and tokens. Returns the start with what was reserved, and adds the key's limits to `headers`.

        Raises RateLimited and TokenBudgetExceeded, and under overload Unavailable for a key that has more than a few
        responses running. In each case nothing was reserved.
        """
        if key is None:
            return start
        slots = key.max_concurrent
        if overload is not None:
            slots = min(slots or _FEW, _FEW)
        counts_tokens = any(limit is not None for limit in (key.tokens_per_minute, key.budget_tokens, key.budget_usd))
        tokens = context_tokens(start, continues) if counts_tokens else 0
        answer = start.request.max_output_tokens or 0
        cost = CostEstimate()
        if key.budget_usd is not None:
            start = await self._priced(start)
            cost = self._prices.estimate(start.targets[0], tokens, answer, tier=start.request.service_tier)
        standing = await self._quotas.admit(key, start.response_id, tokens, slots, answer_tokens=answer, cost=cost)
        _show(key, headers, standing)
        _record(key, standing)
        self._look_after(key, standing.doubtful)
        if standing.refused == "running" and overload is not None and slots != key.max_concurrent:
            raise overload.error
        if standing.refused is not None:
            raise _refusal(key, headers, standing, tokens)
        admitted = Admitted(
            account=key.account,
            budget_period=key.budget_period,
            budget_tokens=key.budget_tokens or 0,
            budget_usd=key.budget_usd or 0,
            tokens=tokens if standing.second else 0,
            second=standing.second,
        )
        return start.model_copy(update={"admitted": admitted, "context_tokens": tokens})

    async def _priced(self, start: StartResponse) -> StartResponse:
        """The start without fallbacks whose price is not known: a budget could not count them.

        Raises PermissionDenied if the price of the model itself is not known.
        """
        priced = []
        for target in start.targets:
            await self._prices.ready(target.provider, target.price)
            if self._prices.has_price(target):
                priced.append(target)
        if start.targets[0] not in priced:
            raise PermissionDenied(
                f"Your API key has a budget in US dollars, and the model {start.request.model!r} has no known price. "
                "Use another model. If you operate the server, add [routes.price] to the model's route.",
                param="model",
            )
        fallbacks = [target for target in start.fallbacks if target in priced]
        return start if fallbacks == start.fallbacks else start.model_copy(update={"fallbacks": fallbacks})

    async def withdraw(self, start: StartResponse) -> None:
        """Give back what `admit` reserved: the response was not started."""
        if start.admitted is not None:
            await self._quotas.withdraw(start.admitted, start.response_id)

    async def doubt(self, start: StartResponse) -> None:
        """Mark a reservation whose start has an unknown outcome. The next use of the key asks Temporal."""
        if start.admitted is not None:
            await self._quotas.doubt(start.admitted, start.response_id)

    async def show(self, key: ApiKeyConfig | None, headers: dict[str, str]) -> None:
        """Add the key's limits to the headers of a request that was not counted against them."""
        if key is None or not key.has_limits or any(name.startswith("x-ratelimit-") for name in headers):
            return
        standing = await self._quotas.look(key)
        _show(key, headers, standing)
        self._look_after(key, standing.doubtful)

    def _look_after(self, key: ApiKeyConfig, response_ids: Sequence[str]) -> None:
        for response_id in response_ids:
            chore = in_background("renew or free", self._renew_or_free(key, response_id))
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    async def _renew_or_free(self, key: ApiKeyConfig, response_id: str) -> None:
        """Settle a slot whose lease expired: the process that should have freed it may have died."""
        admitted = Admitted(account=key.account, budget_period=key.budget_period)
        try:
            outcome = await self._records.outcome(response_id)
            if outcome == "running":
                await self._quotas.renew(admitted, response_id)
            elif isinstance(outcome, FinishedResponse):
                response = outcome.response
                used = used_by(
                    response,
                    context_tokens=0,
                    was_cut_off=response["status"] != "completed",
                    usage=outcome.usage,
                )
                await self._quotas.settle(admitted, response_id, used)
            else:
                # Deleted, terminated, or never started: its output is unknown, and only its input is counted.
                await self._quotas.settle(admitted, response_id, Used(0, cut_off=0))
        except (RPCError, *RedisDown) as error:
            log.info("place_not_looked_after", response_id=response_id, reason=str(error))


def _refusal(key: ApiKeyConfig, headers: dict[str, str], standing: Standing, tokens: int) -> OpenResponsesError:
    if standing.wait_seconds is None:
        # The openai SDK retries a 429 unless this header says no.
        headers["x-should-retry"] = "false"
    if standing.refused == "cost":
        dollars = max(0.0, (key.budget_usd or 0) - standing.spent_nano / NANO)
        state = f"has ${dollars:.6f} left, and this request sends about {tokens} tokens" if dollars else "is spent"
        return TokenBudgetExceeded(
            f"Your API key's budget of ${key.budget_usd:g} a {key.budget_period} {state}. Running responses count "
            "with the cost that they have reserved. Send the request again when the next "
            f"{key.budget_period} (UTC) begins."
        )
    if standing.refused == "budget":
        left = max(0, (key.budget_tokens or 0) - standing.spent)
        state = f"has {left} left, and this request sends about {tokens}" if left else "is spent"
        return TokenBudgetExceeded(
            f"Your API key's budget of {key.budget_tokens} tokens a {key.budget_period} {state}. Running responses "
            "count with the tokens that they have reserved. Send the request again when the next "
            f"{key.budget_period} (UTC) begins."
        )
    if standing.refused == "running":
        message = f"Your API key's limit of {key.max_concurrent} responses at a time is reached."
        return RateLimited(f"{message} Send the request again when one has ended.", retry_after=_PLACE_WAIT_SECONDS)
    if standing.refused == "requests":
        message = f"Your API key's limit of {key.requests_per_minute} requests a minute is reached."
    elif standing.wait_seconds is None:
        return RateLimited(
            f"Your input has about {tokens} tokens, including the chain or conversation that it continues. Your API "
            f"key's limit is {key.tokens_per_minute} a minute. Send a shorter input."
        )
    else:
        message = f"Your API key's limit of {key.tokens_per_minute} tokens a minute is reached."
    seconds = standing.wait_seconds or 0.0
    return RateLimited(f"{message} Send the request again in {_duration(seconds)}.", retry_after=seconds)


def _show(key: ApiKeyConfig, headers: dict[str, str], standing: Standing) -> None:
    """Headers with the names and formats of OpenAI's API."""
    shown = {
        "requests": (key.requests_per_minute, standing.requests, standing.requests_reset),
        "tokens": (key.tokens_per_minute, standing.tokens, standing.tokens_reset),
    }
    for name, (limit, used, reset) in shown.items():
        if limit is not None:
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - used))
            headers[f"x-ratelimit-reset-{name}"] = _duration(reset)


def _record(key: ApiKeyConfig, standing: Standing) -> None:
    """How much of each limit is used, for the metrics."""
    used = {
        "requests_per_minute": (standing.requests, key.requests_per_minute),
        "tokens_per_minute": (standing.tokens, key.tokens_per_minute),
        "max_concurrent": (standing.running, key.max_concurrent),
        "budget_tokens": (standing.spent, key.budget_tokens),
        "budget_usd": (standing.spent_nano / NANO, key.budget_usd),
    }
    for limit, (count, most) in used.items():
        if most is not None:
            metrics.limit_used(key.tenant, limit, count, most)


def _duration(seconds: float) -> str:
    """In the format of OpenAI's headers: `120ms`, `6s`, `1m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms" if seconds else "0s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
