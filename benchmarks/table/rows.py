"""The rows of the table: what a figure means, which other one it is divided by, and what it is to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

OURS, THEIRS = "ours", "litellm"
ON_PACE = 1.05
"""A median length of so many times the pace counts as the pace."""

Figures = Mapping[str, float]
"""A row's figures by arm; and under `pace` or `base` what they are compared with where that is no arm's figure."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `base` is the arm that ours is divided by. `is_met` is asked with the figures of this row alone; it is
    None where the issue states no aim."""

    name: str
    label: str
    unit: str
    base: str = THEIRS
    is_higher_better: bool = False
    aim: str = ""
    is_met: Callable[[Figures], bool] | None = None

    def ratio(self, figures: Figures) -> float | None:
        """Ours over the base. None where one of them is missing."""
        if OURS not in figures or not figures.get(self.base):
            return None
        return figures[OURS] / figures[self.base]


def _at_most(share: float) -> Callable[[Figures], bool]:
    return lambda figures: THEIRS in figures and figures[OURS] <= figures[THEIRS] * share


def _at_least(times: float) -> Callable[[Figures], bool]:
    return lambda figures: THEIRS in figures and figures[OURS] >= figures[THEIRS] * times


def _below(bound: float) -> Callable[[Figures], bool]:
    return lambda figures: figures[OURS] <= bound


def _on_pace(figures: Figures) -> bool:
    return figures[OURS] <= figures["pace"] * ON_PACE


ROWS = [
    Row(
        "first-1",
        "added to the first token, 1 stream, p50",
        "ms",
        aim="<= LiteLLM native",
        is_met=_at_most(1),
    ),
    Row("first-16", "added to the first token, 16 streams, p50", "ms", aim="<= 1/3 of it", is_met=_at_most(1 / 3)),
    Row("first-64", "added to the first token, 64 streams, p50", "ms", aim="<= 1/4 of it", is_met=_at_most(1 / 4)),
    Row(
        "short",
        "short streams a second, 64 at once",
        "/s",
        is_higher_better=True,
        aim=">= 4 x it",
        is_met=_at_least(4),
    ),
    Row("pace-150", "150 streams of 20 tokens/s: median length", "s", base="pace", aim="the pace", is_met=_on_pace),
    Row("pace-400", "400 streams of 20 tokens/s: median length", "s", base="pace", aim="the pace", is_met=_on_pace),
    Row("cpu-delta", "CPU per 1,000 deltas, own processes", "ms", aim="<= 200 ms", is_met=_below(200)),
    Row("cpu-delta-worker", "of it the workers", "ms", base="base"),
    Row("cpu-delta-api", "of it the API", "ms", base="base"),
    Row("cpu-response", "CPU per response of 50 deltas, 64 at once", "ms", aim="<= 15 ms", is_met=_below(15)),
    Row("cpu-temporal", "Temporal's CPU per such response", "ms", base="base", aim="<= 15 ms", is_met=_below(15)),
    Row("memory-rss", "memory after that, resident: one worker + API", "MiB", aim="<= 200 MiB", is_met=_below(200)),
    Row("memory-pss", "the same, shared pages divided", "MiB"),
    Row("start", "worker start to first poll (LiteLLM: to ready)", "s", aim="<= 0.8 s", is_met=_below(0.8)),
    Row(
        "burst",
        "500 streams of 100 tokens started within 3 s: median",
        "s",
        base="pace",
        aim="<= 8 s",
        is_met=_below(8),
    ),
]
BY_NAME = {row.name: row for row in ROWS}
