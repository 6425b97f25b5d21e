"""The harness of `make bench`, with numbers that are too small to mean anything."""

from __future__ import annotations

import pytest

from benchmarks.load.order import Order
from benchmarks.table import report
from benchmarks.table.command import measured
from benchmarks.table.rows import ROWS
from benchmarks.table.sizes import Sizes

pytestmark = pytest.mark.campaign

LARGER = {"first-16", "first-64", "pace-400"}
"""The rows that differ from others in their number of streams alone."""
TINY = Sizes(
    mode="tiny",
    first_rounds={1: 1},
    short=4,
    short_rounds=1,
    cpu_streams=4,
    cpu=Order(10, 0.05),
    cpu_rounds=1,
    pace_streams=(150,),
    pace=Order(3, 0.05),
    cap=2000.0,
    burst_streams=10,
    burst=Order(10, 0.05),
    burst_seconds=0.1,
    starts=1,
    without={},
)


async def test_each_row_of_the_table_gets_a_figure_and_each_stream_its_whole_text() -> None:
    results = await measured(TINY, arms=("direct", "ours"))
    assert not results.faults
    for row in ROWS:
        if row.name in LARGER:
            continue
        assert "ours" in results.figures[row.name], row.name
        assert results.labels.get(row.name, row.label) in report.table(results)
    for row_name, by_arm in results.cpu.items():
        assert by_arm["ours"]["api"] >= 0, row_name
    assert sum(results.cpu["pace-150"]["ours"].values()) > 0
