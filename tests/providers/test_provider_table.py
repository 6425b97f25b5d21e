"""docs/providers.md keeps its word: each cell of its table has a test that exists, and each status is that error."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from activities.providers.registry import build_providers
from activities.providers.shared.http import open_http_client
from open_responses.config import Config
from open_responses.errors import OpenResponsesError
from open_responses.testing.provider_contract import ProviderContract
from tests.support.provider_table import ROWS, TABLE, VENDORS
from tests.support.provider_wire import Wire, call, refusal, sampled

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "providers.md").read_text()
NOTES = dict(re.findall(r"^\[(\d+)\] (.+)$", DOCUMENT, re.MULTILINE))


def rows_of(document: str) -> dict[str, list[str]]:
    """First cell -> the others, of all tables whose head names the five adapters."""
    found: dict[str, list[str]] = {}
    is_ours = False
    for line in document.splitlines():
        if not line.startswith("|"):
            is_ours = False
            continue
        name, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if tuple(cell.strip("`") for cell in cells) == VENDORS:
            is_ours = True
        elif is_ours and not set(line) <= set("|-: "):
            assert name not in found, f"{name!r} is there twice"
            found[name] = cells
    return found


@cache
def names_in(path: Path) -> frozenset[str]:
    """`test_x`, and `TestY.test_x` of what such a class has from the contract kit."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            names |= {f"{node.name}.{inherited}" for inherited in CONTRACT}
    return frozenset(names)


CONTRACT = frozenset(name for name in dir(ProviderContract) if name.startswith("test_"))


def files_of(vendor: str) -> list[Path]:
    """`test_openai*.py` of `openai`, but for those of `openai-chat`."""
    own = f"test_{vendor.replace('-', '_')}"
    longer = [f"test_{v.replace('-', '_')}" for v in VENDORS if v.startswith(f"{vendor}-")]
    return [
        p for p in (TESTS / "providers").glob(f"{own}*.py") if not any(p.name.startswith(prefix) for prefix in longer)
    ]


def test_the_document_and_the_table_have_the_same_rows() -> None:
    rows = rows_of(DOCUMENT)
    assert len(rows) > 40
    assert list(rows) == list(ROWS)
    assert all(len(cells) == len(VENDORS) for cells in rows.values())


@pytest.mark.parametrize(("row", "vendor"), TABLE, ids=lambda part: re.sub(r"\W+", "-", part))
def test_every_cell_has_a_test(row: str, vendor: str) -> None:
    names = TABLE[row, vendor]
    assert names
    for name in names:
        module, _, test = name.partition(".") if "." in name else ("", "", name)
        files = list(TESTS.rglob(f"{module}.py")) if module else files_of(vendor)
        assert any(test in names_in(path) for path in files), f"{name} is in none of {[path.name for path in files]}"


def test_every_cell_is_one_of_few_words() -> None:
    noted = set()
    for row, cells in rows_of(DOCUMENT).items():
        for cell in cells:
            said = re.fullmatch(r"(native|in words|by us|refused \(400\)|—)(?: \[(\d+)\])?", cell)
            assert said, f"{row!r}: {cell!r}"
            noted |= {said[2]} - {None}
    assert noted == NOTES.keys()


def statuses() -> dict[int, list[str]]:
    """Status -> the other cells of its line in the table of failures."""
    lines = [line.strip("|").split("|") for line in DOCUMENT.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines if len(line) == 5]
    return {int(status): rest for first, *rest in cells for status in re.findall(r"\b[45]\d\d\b", first)}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_status_is_the_error_that_the_document_says(vendor: str) -> None:
    assert len(statuses()) > 10
    async with open_http_client() as http:
        for status, (code, retried, falls_back, _) in statuses().items():
            async with Wire(refusal(status, {"error": {"message": "no"}})) as wire:
                config = wire.provider(vendor, name="p")
                with pytest.raises(OpenResponsesError) as failed:
                    await sampled(build_providers(Config(providers=(config,)), http, {})["p"], call())
            assert f"`{failed.value.error_code}`" == code, status
            assert failed.value.retryable == (retried == "yes") == (falls_back == "yes"), status
