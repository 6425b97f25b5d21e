"""Prices of models in US dollars, and what tokens cost at them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from open_responses.deltas import Usage

_PER = 1_000_000
# A token of the cheapest model costs about 1e-9 dollars. Behind this digit, sums of floats only have noise.
COST_DIGITS = 12
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
        return round(total / _PER, COST_DIGITS)


def _or(price: float | None, default: float) -> float:
    return default if price is None else price
