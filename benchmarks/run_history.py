"""`benchmarks/history.jsonl`: a line for each release, or for each `make bench RECORD=1`; and the comparison of two.

Ratios are compared, not times: both sides of a ratio were measured in one run, so a slower machine changes both.
"""

from __future__ import annotations

import datetime
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_responses
from benchmarks.machine import machine
from benchmarks.table.rows import ROWS, Row

HISTORY_FILE = Path("benchmarks/history.jsonl")
WORSE = 0.15
"""A ratio that grew by a greater share is flagged: two runs of the same code differ by up to 10 %."""

Line = Mapping[str, Any]


def line_of(figures: Mapping[str, Mapping[str, float]], mode: str) -> Line:
    """The line of a run that has just ended."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": open_responses.__version__,
        "commit": _commit(),
        "mode": mode,
        "machine": machine(),
        "ratios": ratios(figures),
        "figures": {row: {arm: _rounded(figure) for arm, figure in by_arm.items()} for row, by_arm in figures.items()},
    }


def ratios(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Ours over the base, by row, where both are there."""
    found = {row.name: row.ratio(figures[row.name]) for row in ROWS if row.name in figures}
    return {name: _rounded(ratio) for name, ratio in found.items() if ratio is not None}


def append(line: Line, file: Path = HISTORY_FILE) -> None:
    with file.open("a", encoding="utf-8") as history:
        history.write(json.dumps(line) + "\n")


def read(file: Path = HISTORY_FILE) -> list[Line]:
    """The oldest first."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


@dataclass(frozen=True, slots=True)
class Change:
    """A row's ratio in two lines. `worse` is the share by which it got worse: 0.2 for a ratio of 1.2 after 1.0, or,
    where more is better, of 1.0 after 1.2. Negative where it got better."""

    row: Row
    before: float
    after: float

    @property
    def worse(self) -> float:
        return (self.before / self.after if self.row.is_higher_better else self.after / self.before) - 1

    @property
    def is_regression(self) -> bool:
        return self.worse > WORSE


def changes(before: Line, after: Line) -> list[Change]:
    """Of the rows that both lines have."""
    pairs = [(row, before["ratios"].get(row.name), after["ratios"].get(row.name)) for row in ROWS]
    # A median below the direct client's is noise around nothing: such a ratio has no share.
    return [Change(row, old, new) for row, old, new in pairs if old and new and old > 0 and new > 0]


def compare(mode: str = "full", file: Path = HISTORY_FILE) -> int:
    """Print the last two lines of this mode side by side. Returns the number of regressions."""
    lines = [line for line in read(file) if line["mode"] == mode]
    if len(lines) < 2:
        print(f"{file} has {len(lines)} line(s) of mode {mode}: `make bench RECORD=1` adds one")
        return 0
    before, after = lines[-2:]
    print(f"{'ratio, ours over its base':<56} {_shown(before):>20} {_shown(after):>20}")
    found = changes(before, after)
    for change in found:
        flag = f"  {change.worse:+.0%} WORSE" if change.is_regression else ""
        print(f"{change.row.label:<56} {change.before:>20.2f} {change.after:>20.2f}{flag}")
    if before["machine"] != after["machine"]:
        print(f"the machines differ: {before['machine']} and {after['machine']}")
    return sum(change.is_regression for change in found)


def _shown(line: Line) -> str:
    return f"{line['date'][:10]} {str(line['commit'])[:9]}"


def _rounded(figure: float) -> float:
    return float(f"{figure:.4g}")


def _commit() -> str:
    """Short, with `+` where the work tree has changes. `unknown` outside of a repository."""
    shown = _git("rev-parse", "--short=9", "HEAD")
    return (
        "unknown"
        if not shown
        else shown
        + ("+" if _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{HISTORY_FILE}") else "")
    )


def _git(*words: str) -> str:
    done = subprocess.run(("git", *words), capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
