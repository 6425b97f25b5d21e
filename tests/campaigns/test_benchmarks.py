"""The harness of `make bench`, with numbers that are too small to mean anything."""

from __future__ import annotations

import pytest

from benchmarks.load.order import Order
from benchmarks.table import report
from benchmarks.table.command import measured
from benchmarks.table.rows import ROWS
from benchmarks.table.sizes import Sizes

pytestmark = pytest.mark.campaign

TINY = Sizes(
    mode="tiny",
    first_rounds={1: 1, 16: 1, 64: 1},
    short=4,
    short_rounds=1,
    cpu_streams=4,
    cpu=Order(10, 0.05),
    cpu_rounds=1,
    pace_streams=(150, 400),
    pace=Order(10, 0.05),
    cap=100.0,
    burst_streams=10,
    burst=Order(10, 0.05),
    burst_seconds=0.1,
    starts=1,
    without={},
)


async def test_each_row_of_the_table_gets_a_figure_and_each_stream_its_whole_text() -> None:
    results = await measured(TINY, arms=("direct", "ours", "ours-native"))
    assert not results.faults
    for row in ROWS:
        assert {"ours", "ours-native"} <= set(results.figures[row.name]), row.name
        assert results.labels.get(row.name, row.label) in report.table(results)
    for row_name, by_arm in results.cpu.items():
        assert by_arm["ours"]["api"] >= 0, row_name
    assert sum(results.cpu["pace-400"]["ours"].values()) > 0
