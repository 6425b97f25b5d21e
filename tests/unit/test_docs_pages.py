"""The pages of the documentation's site: every page is in the menu, and every link leads to a page."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from dev.docs_pages import project, write_pages

ROOT = Path(__file__).parents[2]


def test_each_page_is_in_the_menu_once_and_each_link_leads_to_a_page(tmp_path: Path) -> None:
    titles = write_pages(tmp_path)
    menu = tomllib.loads(project(titles))["project"]["nav"]
    shown = [path for section in menu for pages in section.values() for page in pages for path in page.values()]
    pages = {page.relative_to(tmp_path).as_posix() for page in tmp_path.rglob("*.md")}
    assert sorted(shown) == sorted(pages)
    assert len(pages) == 4 + sum(1 for _ in (ROOT / "docs").rglob("*.md"))
    for name in pages:
        page = tmp_path / name
        for target in re.findall(r"\]\(([^)\s#]+)", re.sub(r"`[^`]*`(?!\])", "", page.read_text(encoding="utf-8"))):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{name} links to {target}"


def test_a_path_in_prose_becomes_a_link_and_a_block_of_code_stays(tmp_path: Path) -> None:
    write_pages(tmp_path)
    first = (tmp_path / "index.md").read_text(encoding="utf-8")
    assert "[`docs/operations.md`](operations.md)" in first
    assert "[`SECURITY.md`](SECURITY.md)" in first
    assert "make dev     # starts" in first
