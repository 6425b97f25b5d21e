"""The table of `make bench`: figures, ratios, aims, the lines of its history and their comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from benchmarks import run_history
from benchmarks.machine import machine
from benchmarks.table import report
from benchmarks.table.arms import LABELS
from benchmarks.table.results import Results
from benchmarks.table.rows import BY_NAME, ROWS

FIGURES: dict[str, dict[str, float]] = {
    "first-1": {"direct": 0.0, "litellm": 16.0, "ours": 12.0},
    "first-16": {"direct": 0.0, "litellm": 240.0, "ours": 120.0},
    "short": {"direct": 1400.0, "litellm": 18.0, "ours": 80.0},
    "pace-400": {"direct": 20.0, "litellm": 50.0, "ours": 20.5, "pace": 20.0},
    "cpu-delta": {"litellm": 700.0, "ours": 350.0},
    "cpu-temporal": {"ours": 20.0, "base": 50.0},
}


def line_with(**ratios: float) -> run_history.Line:
    return {
        "date": "2026-11-28T10:00:00Z",
        "commit": "abc",
        "mode": "full",
        "machine": {"cores": 2},
        "ratios": {name.replace("_", "-"): ratio for name, ratio in ratios.items()},
    }


def shown(figures: Mapping[str, dict[str, float]], **more: object) -> dict[str, list[str]]:
    """The cells of each row, by the row's label."""
    results = Results(figures=dict(figures), **more)  # type: ignore[arg-type]
    lines = report.table(results).splitlines()
    assert len({len(line) for line in lines}) == 1, "the columns stand in line"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {cells[0]: cells[1:] for cells in rows}


def test_the_names_of_rows_are_different() -> None:
    assert len(BY_NAME) == len(ROWS)


def test_a_row_shows_each_arm_the_ratio_the_aim_and_whether_it_is_met() -> None:
    rows = shown(FIGURES)
    assert rows[""] == [LABELS[arm] for arm in ("direct", "litellm", "ours")] + ["ratio", "aim", "met"]
    assert rows["added to the first token, 1 stream, p50"] == [
        *("0.0 ms", "+16.0 ms", "+12.0 ms", "0.75", "<= LiteLLM native", "yes")
    ]
    assert rows["added to the first token, 16 streams, p50"][-3:] == ["0.50", "<= 1/3 of it", "no"]
    assert rows["short streams a second, 64 at once"] == ["1,400/s", "18.0/s", "80.0/s", "4.44", ">= 4 x it", "yes"]
    assert rows["Temporal's CPU per such response"] == ["-", "-", "20.0 ms", "0.40", "<= 15 ms", "no"]


def test_the_pace_is_named_in_its_row_and_a_bound_is_marked() -> None:
    rows = shown(FIGURES, bounds={("pace-400", "litellm")})
    cells = rows["400 streams of 20 tokens/s: median length (pace 20.0 s)"]
    assert cells == ["20.0 s", ">50.0 s", "20.5 s", "1.02", "the pace", "yes"]


@pytest.mark.parametrize(
    ("row", "ours", "met"),
    [
        ("first-64", 25.0, "yes"),
        ("first-64", 25.1, "no"),
        ("short", 400.0, "yes"),
        ("short", 399.0, "no"),
        ("pace-150", 21.0, "yes"),
        ("pace-150", 21.1, "no"),
        ("cpu-delta", 200.0, "yes"),
        ("start", 0.81, "no"),
        ("burst", 8.1, "no"),
    ],
)
def test_an_aim_is_met_up_to_its_bound(row: str, ours: float, met: str) -> None:
    assert report.verdict(BY_NAME[row], {"litellm": 100.0, "ours": ours, "pace": 20.0}) == met


def test_an_aim_beside_litellm_is_not_met_without_litellm() -> None:
    assert report.verdict(BY_NAME["first-1"], {"ours": 1.0}) == "no"
    assert BY_NAME["first-1"].ratio({"ours": 1.0}) is None


def test_the_cpu_of_a_group_is_that_of_its_processes() -> None:
    results = Results()
    seconds = {"worker-0": 1.0, "worker-1": 2.0, "api": 0.5, "upstream": 0.0}
    results.put_cpu("short", "ours", seconds, responses=100, deltas=50)
    head, _, line = report.cpu_tables(results).splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")][1:] == ["API", "workers"]
    assert "5.0 (100)" in line
    assert "30.0 (600)" in line


def test_a_fault_is_named_with_its_row_and_arm() -> None:
    results = Results()
    results.add_faults("pace-400", "litellm", Counter({"given up": 3}))
    assert report.faults(results) == "faults, pace-400, LiteLLM native: 3 x given up"


def test_a_line_of_the_history_has_ratios_commit_and_machine_but_no_host(tmp_path: Path) -> None:
    line = run_history.line_of(FIGURES, "full")
    file = tmp_path / "history.jsonl"
    run_history.append(line, file)
    run_history.append(line, file)
    assert run_history.read(file) == [json.loads(json.dumps(line))] * 2
    assert line["ratios"] == {
        "first-1": 0.75,
        "first-16": 0.5,
        "short": 4.444,
        "pace-400": 1.025,
        "cpu-delta": 0.5,
        "cpu-temporal": 0.4,
    }
    assert line["commit"]
    assert set(line["machine"]) == {"cores", "cpu", "memory_gib", "system", "python"} == set(machine())


def test_what_got_worse_by_more_than_fifteen_percent_is_a_regression() -> None:
    before, after = line_with(first_1=1.0, first_16=1.0, short=4.0), line_with(first_1=1.16, first_16=1.14, short=3.4)
    found = {change.row.name: change.is_regression for change in run_history.changes(before, after)}
    assert found == {"first-1": True, "first-16": False, "short": True}


def test_rows_that_one_line_lacks_are_not_compared() -> None:
    assert run_history.changes(line_with(first_1=1.0), line_with(short=4.0)) == []


def test_the_last_two_lines_of_a_mode_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "history.jsonl"
    quick = {**line_with(short=9.0), "mode": "quick"}
    for line in (line_with(short=1.0), line_with(short=4.0), quick, line_with(short=2.0)):
        run_history.append(line, file)
    assert run_history.compare("full", file) == 1
    out = capsys.readouterr().out
    assert "+100% WORSE" in out
    assert run_history.compare("quick", file) == 0
    assert "`make bench RECORD=1` adds one" in capsys.readouterr().out


def test_a_row_is_shown_in_one_line_once_it_is_measured() -> None:
    results = Results(figures=FIGURES, bounds={("pace-400", "litellm")})
    assert report.progress("pace-400", results) == "pace-400: direct 20.0 s, litellm >50.0 s, ours 20.5 s"
