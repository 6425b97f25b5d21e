"""Each decision record can be found: numbered without a hole, with a status and a date, and listed in the index."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
HEAD = re.compile(
    r"# (?P<number>\d{4}) (?P<title>.+)\n\n"
    r"- Status: (?P<status>(accepted|replaced by \d{4}).*)\n"
    r"- Date: (?P<date>[\d-]{10})\n"
)


def test_the_numbers_of_records_have_no_hole() -> None:
    assert [path.name[:4] for path in RECORDS] == [f"{number:04}" for number in range(1, len(RECORDS) + 1)]


def test_each_record_begins_with_its_number_a_status_and_a_date_and_stands_in_the_index() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    rows = [line for line in index.splitlines() if line.startswith("| [")]
    expected = []
    for path in RECORDS:
        head = HEAD.match(path.read_text(encoding="utf-8"))
        assert head, f"{path.name} does not begin with `# NNNN title`, an empty line, `- Status: …` and `- Date: …`"
        assert head["number"] == path.name[:4]
        expected.append(f"| [{head['number']}]({path.name}) | {head['title']} | {head['status']} | {head['date']} |")
    assert rows == expected
