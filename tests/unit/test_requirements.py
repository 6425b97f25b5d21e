"""Every clause of the specification has a test or is listed as missing, and every test named for one exists."""

from __future__ import annotations

import importlib
import re

import pytest

from tests.support.requirement_table import CLAUSES, LATER
from tests.support.spec import SPEC_PATH


def test_no_clause_is_forgotten() -> None:
    text = SPEC_PATH.parent / "requirements.md"
    if not text.exists():
        pytest.skip("the specification's clauses are not beside the project")
    ids = set(re.findall(r"^- ([A-Z]+-\d+) ", text.read_text(), re.MULTILINE))
    assert len(ids) > 30
    assert ids == CLAUSES.keys() | LATER.keys()
    assert not CLAUSES.keys() & LATER.keys()


@pytest.mark.parametrize("name", sorted({name for names in CLAUSES.values() for name in names}))
def test_the_test_of_a_clause_exists(name: str) -> None:
    module, _, test = name.rpartition(".")
    assert callable(getattr(importlib.import_module(f"tests.{module}"), test))
