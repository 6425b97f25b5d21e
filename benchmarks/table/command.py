"""`python -m benchmarks table`: measures, prints, and records."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection

from benchmarks.machine import machine
from benchmarks.run_history import HISTORY_FILE, append, line_of
from benchmarks.table import report
from benchmarks.table.measure import PARTS, Measurement
from benchmarks.table.results import Results
from benchmarks.table.servers import serving
from benchmarks.table.sizes import FULL, QUICK, Sizes


async def main(
    *, is_quick: bool = False, parts: Collection[str] = (), arms: Collection[str] = (), is_recorded: bool = False
) -> None:
    """The parts and arms of these names; all for none. A run of some alone is not recorded."""
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"unknown rows: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if is_recorded and (parts or arms):
        sys.exit("a line of the history has all rows and arms: leave --rows and --arms away")
    sizes = QUICK if is_quick else FULL
    began = time.perf_counter()
    results = await measured(sizes, parts, arms)
    _print(results, sizes.mode, time.perf_counter() - began)
    if is_recorded:
        append(line_of(results.figures, sizes.mode))
        print(f"\nrecorded in {HISTORY_FILE}")


async def measured(sizes: Sizes, parts: Collection[str] = (), arms: Collection[str] = ()) -> Results:
    """The figures of these parts and arms, on servers of their own; of all for none."""
    async with serving() as servers:
        if unknown := set(arms) - set(servers.arms):
            sys.exit(f"unknown arms: {', '.join(sorted(unknown))}; there are {', '.join(servers.arms)}")
        chosen = {name: arm for name, arm in servers.arms.items() if not arms or name in arms}
        return await Measurement(servers, sizes, chosen).run([part for part in PARTS if not parts or part in parts])


def _print(results: Results, mode: str, seconds: float) -> None:
    here = machine()
    print(f"\n{here['cores']} cores ({here['cpu']}), Python {here['python']}, {mode}, {seconds:.0f} s\n")
    print(report.table(results))
    print(f"\n{report.cpu_tables(results)}")
    for note in [*results.notes, *filter(None, [report.faults(results)])]:
        print(f"\n{note}")
