"""Each path of ours that a page names is there: a module that moves takes its mentions with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)\s#]+)[^)]*\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?<![\w./:-])(?:[\w.-]+/)+[\w.-]+\.(?:py|lua|md|toml|yml|json|html|lock|ts)(?![\w/])")
_FOLDER = re.compile(r"(?<![\w./:-])((?:[\w.-]+/)+)(?![\w{*<$])")
# Made by a run, or a reader's own: not of the repository.
_ELSEWHERE = (".data/", ".venv", "./", "my_tools/", "public/openapi/")
_TOP = {path.name for path in ROOT.iterdir()}


def paths_in(page: str) -> set[str]:
    """What looks like a file in a page's code, links and diagrams, or like a folder of the repository's."""
    prose = _FENCE.sub("", page)
    code = [*_CODE.findall(prose), *_FENCE.findall(page)]
    files = {path for text in code for path in _FILE.findall(text)}
    folders = {path for text in code for path in _FOLDER.findall(text) if path.split("/")[0] in _TOP}
    links = {path for path in _LINK.findall(prose) if "://" not in path and not path.startswith("mailto:")}
    return {path for path in files | folders | links if not path.startswith(_ELSEWHERE)}


def missing_in(page: Path) -> list[str]:
    """By the repository's root or, as links are, by the page's folder."""
    return sorted(
        path for path in paths_in(page.read_text()) if not (ROOT / path).exists() and not (page.parent / path).exists()
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_path_that_a_page_names_exists(page: Path) -> None:
    assert missing_in(page) == []


def test_a_path_that_is_gone_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`api/gone.py`, `api/also/gone/`, [a page](gone.md), `api/main.py`, `GET /v1/models`\n"
        "```\nA --> api/x.py\n```\n"
    )
    assert missing_in(page) == ["api/also/gone/", "api/gone.py", "api/x.py", "gone.md"]
