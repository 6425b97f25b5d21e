"""The table as Markdown, and the CPU time by process below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from benchmarks.stack import WORKERS
from benchmarks.table.arms import LABELS
from benchmarks.table.load import CLIENT
from benchmarks.table.results import Results
from benchmarks.table.rows import BY_NAME, OURS, ROWS, Row

_MISSING = "-"
_ADDED = "first-"
_GROUPS: Mapping[str, Sequence[str]] = {
    "API": ("api",),
    "workers": WORKERS,
    "Temporal": ("temporal",),
    "Valkey": ("valkey",),
    "LiteLLM": ("litellm",),
    "upstream": ("upstream",),
    "client": (CLIENT,),
}


def table(results: Results) -> str:
    """The rows that have figures, each with its ratio and its aim."""
    arms = [arm for arm in LABELS if any(arm in figures for figures in results.figures.values())]
    head = ["", *(LABELS[arm] for arm in arms), "ratio", "aim", "met"]
    lines = [_row(row, results, arms) for row in ROWS if row.name in results.figures]
    return _markdown(head, lines)


def _row(row: Row, results: Results, arms: Iterable[str]) -> list[str]:
    figures = results.figures[row.name]
    cells = [_cell(row, figures.get(arm), is_bound=(row.name, arm) in results.bounds) for arm in arms]
    ratio = row.ratio(figures)
    label = results.labels.get(row.name, row.label)
    label += f" (pace {figures['pace']:.1f} s)" if "pace" in figures else ""
    return [label, *cells, _MISSING if ratio is None else f"{ratio:.2f}", row.aim or _MISSING, verdict(row, figures)]


def _cell(row: Row, figure: float | None, *, is_bound: bool) -> str:
    if figure is None:
        return _MISSING
    sign = ">" if is_bound else "+" if row.name.startswith(_ADDED) and figure > 0 else ""
    digits = 1 if abs(figure) < 100 else 0
    unit = row.unit if row.unit == "/s" else f" {row.unit}"
    return f"{sign}{figure:,.{digits}f}{unit}"


def progress(name: str, results: Results) -> str:
    """A row in one line, as soon as it is measured: a run that is cut off has shown what it had."""
    row, figures = BY_NAME[name], results.figures[name]
    cells = [(arm, _cell(row, figures.get(arm), is_bound=(name, arm) in results.bounds)) for arm in LABELS]
    return f"{name}: " + ", ".join(f"{arm} {cell}" for arm, cell in cells if cell != _MISSING)


def verdict(row: Row, figures: Mapping[str, float]) -> str:
    """Whether ours meets the aim. Nothing to say without an aim, or without ours."""
    if row.is_met is None or OURS not in figures:
        return _MISSING
    return "yes" if row.is_met(figures) else "no"


def cpu_tables(results: Results) -> str:
    """CPU by process: ms per response, and in brackets ms per 1,000 deltas."""
    tables = []
    for row, by_arm in results.cpu.items():
        deltas = results.deltas[row]
        groups = [group for group in _GROUPS if any(_spent(cpu, group) >= 0.05 for cpu in by_arm.values())]
        lines = []
        for arm in [arm for arm in LABELS if arm in by_arm]:
            spent = [_spent(by_arm[arm], group) for group in groups]
            lines.append([LABELS[arm], *(f"{one:.1f} ({one / deltas * 1000:.0f})" for one in spent)])
        head = [f"CPU, {row}: ms per response of {deltas} deltas (per 1,000 deltas)", *groups]
        tables.append(_markdown(head, lines))
    return "\n\n".join(tables)


def _spent(cpu: Mapping[str, float], group: str) -> float:
    return sum(cpu.get(process, 0.0) for process in _GROUPS[group])


def faults(results: Results) -> str:
    """What went wrong, a line for each kind. Figures beside a fault are of the streams that came back."""
    lines = []
    for (row, arm), kinds in results.faults.items():
        lines += [f"faults, {row}, {LABELS[arm]}: {count} x {kind}" for kind, count in kinds.items()]
    return "\n".join(lines)


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[index]) for line in [head, *lines]) for index in range(len(head))]

    def shown(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"

    return "\n".join([shown(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(shown, lines)])
