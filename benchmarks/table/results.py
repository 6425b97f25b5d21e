"""The figures of a run, by row and arm, and the CPU time by process beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Results:
    """`figures[row][arm]` in the row's unit; `cpu[row][arm][process]` in ms per response; `deltas[row]` are those of
    one response. `bounds` holds the (row, arm) whose figure is a lower bound: streams were given up."""

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    bounds: set[tuple[str, str]] = field(default_factory=set)
    cpu: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    deltas: dict[str, int] = field(default_factory=dict)
    faults: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    """Of rows whose load depends on the mode."""
    notes: list[str] = field(default_factory=list)

    def put(self, row: str, arm: str, figure: float) -> None:
        self.figures.setdefault(row, {})[arm] = figure

    def put_cpu(self, row: str, arm: str, seconds: Mapping[str, float], responses: int, deltas: int) -> None:
        """The CPU of `responses` answers, `deltas` each."""
        self.cpu.setdefault(row, {})[arm] = {name: spent / responses * 1000 for name, spent in seconds.items()}
        self.deltas[row] = deltas

    def add_faults(self, row: str, arm: str, faults: Counter[str]) -> None:
        if faults:
            self.faults.setdefault((row, arm), Counter()).update(faults)
