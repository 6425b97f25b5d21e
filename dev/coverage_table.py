"""`python -m dev.coverage_table REPORT`: the table of `make coverage`, which lines and branches ran in each room.

REPORT is the file of `coverage json`. A room is a folder with modules. `coverage report` has the modules alone, and
their number hides a room that is not tested.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(slots=True)
class Counts:
    """Of one room, or of everything."""

    lines: int = 0
    missed_lines: int = 0
    branches: int = 0
    missed_branches: int = 0

    @property
    def percent(self) -> float:
        """What ran, of lines and branches together, as coverage counts it."""
        total = self.lines + self.branches
        return 100.0 if not total else 100 * (1 - (self.missed_lines + self.missed_branches) / total)


def table(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> str:
    """One line for each room, in the order of names, and their sum."""
    rooms: dict[str, Counts] = defaultdict(Counts)
    for file, measured in report["files"].items():
        room, summary = str(PurePosixPath(file).parent), measured["summary"]
        for counts in (rooms["worker.py" if room == "." else room], rooms["~"]):
            counts.lines += summary["num_statements"]
            counts.missed_lines += summary["missing_lines"]
            counts.branches += summary["num_branches"]
            counts.missed_branches += summary["missing_branches"]
    lines = [f"{'room':34}{'lines':>8}{'missed':>8}{'branches':>10}{'missed':>8}{'ran':>8}"]
    for room, counts in sorted(rooms.items()):
        lines.append(
            f"{'all' if room == '~' else room:34}{counts.lines:8}{counts.missed_lines:8}"
            f"{counts.branches:10}{counts.missed_branches:8}{counts.percent:7.1f}%"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m dev.coverage_table", description=__doc__)
    parser.add_argument("report", type=Path)
    print(table(json.loads(parser.parse_args().report.read_text(encoding="utf-8"))))
