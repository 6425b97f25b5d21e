"""How much is measured: all of `make bench`, or the smaller numbers of `make bench-quick`."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.load.order import Order

RATE = 20
"""Tokens a second of a stream at pace, as a fast model sends them."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rounds, streams and tokens of each row. `cap` is how many times its pace a stream may take before the row gives
    up on it: the figure then stands as "more than"."""

    mode: str
    first_rounds: dict[int, int]
    short: int
    short_rounds: int
    cpu_streams: int
    cpu_tokens: int
    cpu_rounds: int
    pace_tokens: int
    pace_streams: tuple[int, ...]
    cap: float
    burst_streams: int
    burst_tokens: int
    burst_seconds: float
    starts: int

    @property
    def pace(self) -> Order:
        return Order(self.pace_tokens, 1 / RATE)

    @property
    def burst(self) -> Order:
        return Order(self.burst_tokens, 1 / RATE)


FULL = Sizes(
    mode="full",
    first_rounds={1: 20, 16: 4, 64: 3},
    short=160,
    short_rounds=2,
    cpu_streams=80,
    cpu_tokens=200,
    cpu_rounds=2,
    pace_tokens=400,
    pace_streams=(150, 400),
    cap=2.5,
    burst_streams=500,
    burst_tokens=100,
    burst_seconds=3.0,
    starts=5,
)
QUICK = Sizes(
    mode="quick",
    first_rounds={1: 6, 16: 1, 64: 1},
    short=64,
    short_rounds=1,
    cpu_streams=80,
    cpu_tokens=50,
    cpu_rounds=1,
    pace_tokens=60,
    pace_streams=(150, 400),
    cap=2.5,
    burst_streams=150,
    burst_tokens=50,
    burst_seconds=1.0,
    starts=1,
)
