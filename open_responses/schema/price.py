"""Prices of models in US dollars, and what tokens cost at them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from open_responses.deltas import Usage

PER = 1_000_000
"""Prices are for so many tokens."""
# A token of the cheapest model costs about 1e-9 dollars. Behind this digit, sums of floats only have noise.
COST_DIGITS = 12
NANO = 1_000_000_000
_MOST = 1_000_000.0


class ModelPrice(BaseModel):
    """The price of a model, in US dollars for a million tokens.

    Attributes:
        input: Input tokens.
        output: Output tokens.
        cached_input: Input tokens that the provider read from its cache; `input` if None.
        cache_write: Input tokens that the provider wrote to its cache; `input` if None.
        reasoning: Output tokens of reasoning; `output` if None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    input: float = Field(ge=0, le=_MOST)
    output: float = Field(ge=0, le=_MOST)
    cached_input: float | None = Field(default=None, ge=0, le=_MOST)
    cache_write: float | None = Field(default=None, ge=0, le=_MOST)
    reasoning: float | None = Field(default=None, ge=0, le=_MOST)

    def cost_of(self, usage: Usage) -> float:
        """What the tokens cost, in US dollars."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - cached)
        reasoning = min(usage.reasoning_tokens, usage.output_tokens)
        total = (
            (usage.input_tokens - cached - written) * self.input
            + cached * _or(self.cached_input, self.input)
            + written * _or(self.cache_write, self.input)
            + (usage.output_tokens - reasoning) * self.output
            + reasoning * _or(self.reasoning, self.output)
        )
        return round(total / PER, COST_DIGITS)


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a model turn costs, in billionths of a US dollar.

    `sent` is the cost of the earlier model turns and of what this one sends, `answer` the most that its answer costs, 0
    if it has no limit, and `output_million` the cost of a million tokens of output.
    """

    sent: int = 0
    answer: int = 0
    output_million: int = 0

    def behind(self, earlier_usd: float) -> CostEstimate:
        """The estimate of a model turn that follows others, which have cost so much."""
        return replace(self, sent=self.sent + in_nano(earlier_usd))


def in_nano(usd: float) -> int:
    """Billionths of a US dollar, for counts that have to be whole numbers."""
    return round(usd * NANO)


def _or(price: float | None, default: float) -> float:
    return default if price is None else price
