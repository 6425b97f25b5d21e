"""`python -m dev.coverage_table`: the rooms of `make coverage`."""

from __future__ import annotations

from dev.coverage_table import table


def measured(lines: int, missed: int, branches: int, missed_branches: int) -> dict[str, dict[str, int]]:
    """A file in the JSON report, which has more members than these."""
    return {
        "summary": {
            "num_statements": lines,
            "missing_lines": missed,
            "num_branches": branches,
            "missing_branches": missed_branches,
        }
    }


def test_the_files_of_a_room_are_one_line_and_the_sum_is_the_last() -> None:
    files = {
        "workflows/state.py": measured(10, 1, 0, 0),
        "worker.py": measured(5, 0, 0, 0),
        "workflows/tasks.py": measured(20, 0, 8, 2),
        "api/websocket/__init__.py": measured(0, 0, 0, 0),
    }
    rows = [line.split() for line in table({"files": files}).splitlines()]
    assert rows[1:] == [
        ["api/websocket", "0", "0", "0", "0", "100.0%"],
        ["worker.py", "5", "0", "0", "0", "100.0%"],
        ["workflows", "30", "1", "8", "2", "92.1%"],
        ["all", "35", "1", "8", "2", "93.0%"],
    ]
