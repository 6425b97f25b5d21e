"""Every clause of the specification has a test or is listed as missing, and every test named for one exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.support.requirement_table import CLAUSES, LATER
from tests.support.spec import SPEC_PATH

ROOT = Path(__file__).parents[2]


def test_no_clause_is_forgotten() -> None:
    text = SPEC_PATH.parent / "requirements.md"
    if not text.exists():
        pytest.skip("the specification's clauses are not beside the project")
    ids = set(re.findall(r"^- ([A-Z]+-\d+) ", text.read_text(), re.MULTILINE))
    assert len(ids) > 30
    assert ids == CLAUSES.keys() | LATER.keys()
    assert not CLAUSES.keys() & LATER.keys()


def test_the_page_of_clauses_explains_each_and_no_other() -> None:
    page = (ROOT / "docs" / "specification.md").read_text()
    assert sorted(re.findall(r"^\| ([A-Z]+-\d+) \|", page, re.MULTILINE)) == sorted([*CLAUSES, *LATER])


def test_each_clause_that_the_code_names_is_explained() -> None:
    named = re.compile(rf"\b(?:{'|'.join(sorted({code.split('-')[0] for code in CLAUSES}))})-\d+\b")
    folders = ("api", "activities", "open_responses", "workflows", "tests")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {code for path in sources for code in named.findall(path.read_text())}
    assert len(found) > 20
    assert found <= CLAUSES.keys() | LATER.keys()


def test_a_search_for_a_clause_finds_its_code() -> None:
    folders = ("api", "activities", "open_responses", "workflows")
    text = "\n".join(path.read_text() for folder in folders for path in (ROOT / folder).rglob("*.py"))
    # "ITEM-7 to ITEM-10" names those between as well.
    for prefix, first, last in re.findall(r"\b([A-Z]+)-(\d+) to \1-(\d+)\b", text):
        text += "".join(f" {prefix}-{number} " for number in range(int(first), int(last) + 1))
    assert [code for code in CLAUSES if not re.search(rf"\b{code}\b", text)] == []


@pytest.mark.parametrize("name", sorted({name for names in CLAUSES.values() for name in names}))
def test_the_test_of_a_clause_exists(name: str) -> None:
    module, _, test = name.rpartition(".")
    assert callable(getattr(importlib.import_module(f"tests.{module}"), test))
