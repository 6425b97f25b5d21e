"""CPU time and memory of processes, with their children (Linux)."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """MiB. `resident` counts a page that processes share in each of them, `proportional` divides it among them."""

    resident: float
    proportional: float


def cpu_seconds(pid: int) -> float:
    """Of a process and its children so far, in steps of the kernel's clock (10 ms)."""
    return sum(own_cpu_seconds(one) for one in tree(pid))


def memory(pid: int) -> Memory:
    """Of a process and its children."""
    resident = proportional = 0
    for one in tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name == "Rss":
                    resident += int(rest.split()[0])
                elif name == "Pss":
                    proportional += int(rest.split()[0])
    return Memory(resident / 1024, proportional / 1024)


def tree(pid: int) -> list[int]:
    """A process and its children, and theirs."""
    found = [pid]
    for one in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for children in Path(f"/proc/{one}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
    return found


def own_cpu_seconds(pid: int) -> float:
    """Of one process so far; 0 for one that is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
    return 0.0
