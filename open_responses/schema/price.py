"""Prices of models in US dollars, and the cost of tokens at these prices."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict, Field

from open_responses.deltas import Usage

PER = 1_000_000
"""The number of tokens to which a price refers."""
# A token of the cheapest model costs about 1e-9 dollars. After this digit, sums of floats have only rounding errors.
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
        """Return the cost of the tokens, in US dollars."""
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
    """The estimated cost of a model turn, in billionths of a US dollar.

    `sent` is the cost of the earlier model turns and of the input of this one. `answer` is the highest cost of its
    answer, or 0 without a limit. `output_million` is the cost of a million tokens of output.
    """

    sent: int = 0
    answer: int = 0
    output_million: int = 0

    def behind(self, earlier_usd: float) -> CostEstimate:
        """Return the estimate for a model turn that follows others with this cost."""
        return replace(self, sent=self.sent + in_nano(earlier_usd))


def in_nano(usd: float) -> int:
    """Return billionths of a US dollar, for counts that have to be whole numbers."""
    return round(usd * NANO)


def _or(price: float | None, default: float) -> float:
    return default if price is None else price
