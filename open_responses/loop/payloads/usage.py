"""The tokens of a model turn and their cost."""

from __future__ import annotations

from dataclasses import asdict

from open_responses.deltas import Usage
from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload


class TurnUsage(Payload):
    """The tokens of a model turn, or of several, and their cost.

    `cost_usd` is None if no price is known, and in what earlier versions wrote. `unpriced`: the price of some of the
    tokens is not known, and `cost_usd` is that of the others.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cost_usd: float | None = None
    unpriced: bool = False

    @classmethod
    def of(cls, usage: Usage) -> TurnUsage:
        """Make the payload of a usage."""
        return cls(**asdict(usage))

    @classmethod
    def shown(cls, usage: JsonObject) -> TurnUsage:
        """The tokens in a response resource, whose cost is not known."""
        return cls(
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            cached_tokens=usage["input_tokens_details"]["cached_tokens"],
            cache_write_tokens=usage["input_tokens_details"].get("cache_write_tokens", 0),
            reasoning_tokens=usage["output_tokens_details"]["reasoning_tokens"],
            estimated=usage.get("open_responses:estimated", False),
            unpriced=True,
        )

    def plus(self, other: TurnUsage) -> TurnUsage:
        """Return the sum."""
        return TurnUsage.of(Usage(**self.model_dump()).plus(Usage(**other.model_dump())))

    @property
    def total(self) -> int:
        """The tokens of input and output."""
        return self.input_tokens + self.output_tokens

    @property
    def whole_cost(self) -> float | None:
        """The cost of all the tokens, in US dollars; None if a part of it is not known."""
        return None if self.unpriced else self.cost_usd

    def at_least(self, other: TurnUsage) -> TurnUsage:
        """The later of two running totals of the same tokens."""
        return self if self.total >= other.total else other


def usage_with(usage: TurnUsage | None, paid: TurnUsage) -> TurnUsage | None:
    """The tokens of the complete model turns and of the incomplete one; None if no provider has counted any."""
    if not paid.total:
        return usage
    return paid if usage is None else usage.plus(paid)
