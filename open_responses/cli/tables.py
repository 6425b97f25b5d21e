"""What the command line prints: a table for people, or JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

NOTHING = "-"


def print_json(value: object) -> None:
    """One JSON value, in one line."""
    print(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns as wide as their longest cell. Cells have no control characters: they come from clients and models."""
    cells = [tuple(columns), *(tuple(plain(cell) for cell in row) for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_result(value: object, line: str, *, as_json: bool) -> None:
    """Print the answer of a command as JSON, or as one line for people."""
    if as_json:
        print_json(value)
    else:
        print(line)


def print_rows(
    rows: Sequence[Any], columns: Sequence[str], cells_of: Callable[[Any], Sequence[str]], *, as_json: bool
) -> None:
    """Print a list as JSON, or as a table with one line for each row."""
    if as_json:
        print_json(rows)
    else:
        print_table(columns, [cells_of(row) for row in rows])


def plain(text: str) -> str:
    """The text without what a terminal would act on."""
    return "".join(char if char.isprintable() else " " for char in text)


def complain(message: str) -> None:
    """Print an error for the operator."""
    print(f"open_responses: {plain(message)}", file=sys.stderr)


def moment(at: float | None) -> str:
    """A time in Unix seconds, in the zone of this machine."""
    return NOTHING if at is None else datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")


def seconds(length: float | None) -> str:
    """A duration."""
    return NOTHING if length is None else f"{length:.1f} s" if length < 100 else f"{length / 60:.0f} min"


def count(number: int | None) -> str:
    """A count, such as of tokens."""
    return NOTHING if number is None else f"{number:,}"


def money(usd: float | None) -> str:
    """An amount in US dollars."""
    return NOTHING if usd is None else f"${usd:.4f}"


def text(value: Any) -> str:
    """Any other value, or the values of a list."""
    if value in (None, "", []):
        return NOTHING
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def column(rows: Iterable[Any], *of: Callable[[Any], str]) -> list[tuple[str, ...]]:
    """A row of cells for each entry."""
    return [tuple(cell(row) for cell in of) for row in rows]
