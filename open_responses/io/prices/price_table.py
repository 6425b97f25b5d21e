"""The prices of model calls: those of the configuration, then those of the table that `genai-prices` carries.

The table is read only for a provider whose address it has: a model that another server offers under a vendor's name
does not have the vendor's price. A call without a known price has the cost None, and never zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import structlog

from open_responses.config import ProviderConfig
from open_responses.deltas import Usage
from open_responses.io.background import in_background
from open_responses.loop.payloads.start import Target
from open_responses.private_addresses import is_forbidden_host
from open_responses.schema.price import COST_DIGITS, PER, CostEstimate, ModelPrice, in_nano

log = structlog.get_logger(__name__)

# Loading takes a second on a slow machine, and begins with the process's first model call.
_WAIT_SECONDS = 10.0
# Tiers with prices of their own, as the table and the requests name them.
_TIERS = frozenset({"flex", "priority"})
# Of models whose missing price was logged: clients name them, so their number is bounded.
_MOST_NAMED = 200

_Calculate: TypeAlias = Callable[..., Any]


class _Library:
    """`genai-prices`. It takes up to a second to import, so it is imported in a thread, once in a process."""

    def __init__(self) -> None:
        self.parts: tuple[_Calculate, Callable[..., Any]] | None = None
        """`calc_price` and its `Usage`; None until they are imported."""
        self.unpriced = set[tuple[str, str]]()
        """Providers and models whose missing price was logged."""
        self._loading: asyncio.Task[None] | None = None

    def start_loading(self) -> None:
        """Import it beside what the caller does."""
        if self._loading is None:
            self._loading = in_background("load prices", asyncio.to_thread(self._load))

    async def loaded(self) -> None:
        """Wait until it is imported, but not for long."""
        if self._loading is not None and not self._loading.done():
            await asyncio.wait([self._loading], timeout=_WAIT_SECONDS)

    def _load(self) -> None:
        from genai_prices import Usage as PricedUsage
        from genai_prices import calc_price

        # The table itself is imported with the first call.
        calc_price(PricedUsage(input_tokens=1), "gpt-5", provider_id="openai")
        self.parts = calc_price, PricedUsage


class PriceTable:
    """The prices of all models of one configuration's providers.

    `genai-prices` is only imported for a provider that may be in it.
    """

    def __init__(self, providers: Sequence[ProviderConfig], library: _Library | None = None) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._listed = frozenset(provider.name for provider in providers if _may_be_listed(provider))
        self._library = library or _Library()

    def with_providers(self, providers: Sequence[ProviderConfig]) -> PriceTable:
        """The table of another configuration, with the library that this one has imported."""
        return PriceTable(providers, self._library)

    def start_loading(self, provider: str, own: ModelPrice | None) -> None:
        """Begin to load the table, if the price of a call to this provider needs it. The call does not wait for it."""
        if own is None and provider in self._listed:
            self._library.start_loading()

    async def ready(self, provider: str, own: ModelPrice | None) -> None:
        """Wait until the price of a call to this provider can be computed, but not for long."""
        self.start_loading(provider, own)
        if own is None:
            await self._library.loaded()

    def cost(
        self, provider: str, model: str, usage: Usage, *, own: ModelPrice | None, tier: str | None = None
    ) -> float | None:
        """What one model call costs, in US dollars; None if its price is not known.

        Args:
            provider: The provider, by its name in the configuration.
            model: The provider's name of the model.
            usage: The tokens of one call: some prices depend on its size.
            own: The price that the configuration has for the route.
            tier: The request's `service_tier`.
        """
        if own is not None:
            return own.cost_of(usage)
        cost = self._listed_cost(provider, model, usage, tier)
        if cost is None:
            self._name(provider, model)
        return cost

    def priced(
        self, provider: str, model: str, usage: Usage, *, own: ModelPrice | None, tier: str | None = None
    ) -> Usage:
        """The usage of one model call with its cost. A cost that the adapter has set stays."""
        if usage.cost_usd is not None or usage.unpriced or not (usage.input_tokens or usage.output_tokens):
            return usage
        cost = self.cost(provider, model, usage, own=own, tier=tier)
        return replace(usage, cost_usd=cost, unpriced=cost is None)

    def has_price(self, target: Target) -> bool:
        """Whether the price of calls to a provider and model is known. `ready` has to precede this."""
        one = Usage(input_tokens=1, output_tokens=1)
        return self.cost(target.provider, target.upstream_model, one, own=target.price) is not None

    def estimate(self, target: Target, sent: int, answer: int, *, tier: str | None = None) -> CostEstimate:
        """The highest cost of a model turn that sends and receives this many tokens; zero if the price is not known."""

        def nano(usage: Usage) -> int:
            cost = self.cost(target.provider, target.upstream_model, usage, own=target.price, tier=tier)
            return in_nano(cost or 0)

        return CostEstimate(
            nano(Usage(input_tokens=sent)), nano(Usage(output_tokens=answer)), nano(Usage(output_tokens=PER))
        )

    def _listed_cost(self, provider: str, model: str, usage: Usage, tier: str | None) -> float | None:
        if self._library.parts is None or provider not in self._listed:
            return None
        calculate, priced_usage = self._library.parts
        configured = self._providers[provider]
        try:
            listed = calculate(
                priced_usage(
                    input_tokens=usage.input_tokens,
                    cache_read_tokens=min(usage.cached_tokens, usage.input_tokens),
                    cache_write_tokens=min(usage.cache_write_tokens, max(0, usage.input_tokens - usage.cached_tokens)),
                    output_tokens=usage.output_tokens,
                    output_reasoning_tokens=min(usage.reasoning_tokens, usage.output_tokens),
                ),
                model,
                **({"provider_id": configured.price_list} if configured.price_list else _address(configured.base_url)),
                price_context={"service_tier": tier} if tier in _TIERS else None,
            )
        except LookupError:
            return None
        except (ValueError, TypeError, ArithmeticError) as error:
            # A response must not fail because of its price.
            log.warning("price_not_computed", provider=provider, reason=f"{type(error).__name__}: {error}")
            return None
        total: Decimal = listed.total_price
        return round(float(total), COST_DIGITS)

    def _name(self, provider: str, model: str) -> None:
        """Log a model without a price, once."""
        unpriced = self._library.unpriced
        if (provider, model) not in unpriced and len(unpriced) < _MOST_NAMED:
            unpriced.add((provider, model))
            log.warning("model_has_no_price", provider=provider, model=model, advice="add [routes.price] to its route")


def _may_be_listed(provider: ProviderConfig) -> bool:
    return provider.price_list is not None or not is_forbidden_host(urlsplit(provider.base_url).hostname or "")


def _address(base_url: str) -> dict[str, str]:
    return {"provider_api_url": base_url}
