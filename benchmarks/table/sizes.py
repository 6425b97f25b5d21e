"""How much is measured: all of `make bench`, or the smaller numbers of `make bench-quick`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.load.order import Order

_RATE = 20
"""Tokens a second of a stream at pace, as a fast model sends them."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rounds, streams and tokens of each row. `cap` is how many times its pace a stream may take before the row gives
    up on it: the figure then stands as "more than". `without` names, by row, the arms that are left out there."""

    mode: str
    first_rounds: dict[int, int]
    short: int
    short_rounds: int
    cpu_streams: int
    cpu: Order
    cpu_rounds: int
    pace_streams: tuple[int, ...]
    pace: Order
    cap: float
    burst_streams: int
    burst: Order
    burst_seconds: float
    starts: int
    without: Mapping[str, tuple[str, ...]]


FULL = Sizes(
    mode="full",
    first_rounds={1: 20, 16: 4, 64: 3},
    short=160,
    short_rounds=2,
    cpu_streams=80,
    cpu=Order(200, 1 / _RATE),
    cpu_rounds=2,
    pace_streams=(150, 400),
    pace=Order(400, 1 / _RATE),
    cap=2.5,
    burst_streams=500,
    burst=Order(100, 1 / _RATE),
    burst_seconds=3.0,
    starts=5,
    # A direct client costs no server any CPU; LiteLLM's bridge takes minutes for a burst.
    without={"cpu-delta": ("direct",), "burst": ("litellm-chat",)},
)
_SLOW = ("litellm-chat", "ours-native")
QUICK = Sizes(
    mode="quick",
    first_rounds={1: 4, 16: 1, 64: 1},
    short=64,
    short_rounds=1,
    # As many deltas a response as in full, at twice the rate: the starts weigh the same.
    cpu_streams=40,
    cpu=Order(200, 0.5 / _RATE),
    cpu_rounds=1,
    pace_streams=(150, 400),
    pace=Order(60, 1 / _RATE),
    cap=4.0,
    burst_streams=150,
    burst=Order(50, 1 / _RATE),
    burst_seconds=1.0,
    starts=1,
    without={
        **dict.fromkeys(("first-1", "first-16", "first-64"), ("ours-native",)),
        "short": ("ours-native",),
        "cpu-delta": ("direct", *_SLOW),
        "pace-150": ("direct", *_SLOW),
        "pace-400": ("direct", "litellm", *_SLOW),
        "burst": ("direct", "litellm", *_SLOW),
    },
)
