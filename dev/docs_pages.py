"""`make docs`: lays out the pages of `docs/` for zensical, which builds a site with search from them.

In the repository, a page names another as a path (`docs/errors.md`), which reads well in a terminal. The site gets
links. The site of a version is in `site/VERSION`; earlier versions that are there stay, and the pages have a menu of
them. The script needs the standard library alone, since zensical has an environment of its own.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAVIGATION = {
    "Start": ("README.md", "clients.md", "configuration.md", "providers.md", "tools.md", "openai-compatibility.md"),
    "Use": (
        "conversations.md",
        "files.md",
        "websocket.md",
        "webhooks.md",
        "schedules.md",
        "errors.md",
        "middleware.md",
        "specification.md",
    ),
    "Operate": (
        "operations.md",
        "scaling.md",
        "ten-questions.md",
        "operations-api.md",
        "cli.md",
        "runtime-changes.md",
        "console.md",
        "metrics.md",
        "tracing.md",
        "tenants.md",
        "temporal-ui.md",
        "upgrades.md",
    ),
    "Understand": ("architecture.md", "durability.md", "glossary.md", "dependencies.md"),
    "Project": ("SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"),
}
"""The pages by section. Those of `docs/` that are named nowhere are added to the last but one, and the records of
decisions get a section of their own."""

_OUTSIDE = ("README.md", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md")
_NAMED = re.compile(r"`((?:docs/[\w./-]+\.md)|README\.md|SECURITY\.md|CHANGELOG\.md|CONTRIBUTING\.md)`")


def main() -> int:
    """zensical's exit code."""
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__)
    parser.add_argument("environment", type=Path, help="the virtual environment that has zensical")
    parser.add_argument("command", choices=("build", "serve"), nargs="?", default="build")
    given = parser.parse_args()
    pages: Path = given.environment / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    version = _version()
    (pages / "zensical.toml").write_text(project(write_pages(pages / "docs")), encoding="utf-8")
    zensical = given.environment / "bin" / "zensical"
    code = subprocess.run([zensical, given.command, "--config-file", pages / "zensical.toml"], check=False).returncode
    if code == 0 and given.command == "build":
        shutil.rmtree(ROOT / "site" / version, ignore_errors=True)
        shutil.copytree(pages / "site", ROOT / "site" / version)
        _list_versions(ROOT / "site", version)
    return code


def write_pages(target: Path) -> dict[str, str]:
    """The title of each page, by its path in the site."""
    sources = {source.relative_to(ROOT / "docs").as_posix(): source for source in (ROOT / "docs").rglob("*.md")}
    sources |= {name: ROOT / name for name in _OUTSIDE}
    titles = {}
    for path, source in sorted(sources.items()):
        page = target / _site_path(path)
        page.parent.mkdir(parents=True, exist_ok=True)
        text = source.read_text(encoding="utf-8")
        page.write_text(_linked(text, _site_path(path)), encoding="utf-8")
        titles[path] = text.partition("\n")[0].lstrip("# ")
    if (ROOT / "docs" / "images").exists():
        shutil.copytree(ROOT / "docs" / "images", target / "images")
    return titles


def _site_path(path: str) -> str:
    return "index.md" if path == "README.md" else path


def _linked(text: str, page: str) -> str:
    """The page's text, in which paths of other pages are links. Blocks of code stay as they are."""
    up = "../" * page.count("/")
    parts = re.split(r"(^```.*?^```)", text, flags=re.MULTILINE | re.DOTALL)

    def link(match: re.Match[str]) -> str:
        path = match[1].removeprefix("docs/")
        known = (ROOT / match[1]).exists()
        return f"[{match[0]}]({up}{_site_path(path)})" if known else match[0]

    whole = "".join(part if part.startswith("```") else _NAMED.sub(link, part) for part in parts)
    # Pictures and links of the README are relative to the repository's root.
    return re.sub(r"\]\(docs/", f"]({up}", whole)


def project(titles: dict[str, str]) -> str:
    named = {page for pages in NAVIGATION.values() for page in pages}
    decisions = sorted(path for path in titles if path.startswith("decisions/"))
    others = sorted(path for path in titles if path not in named and path not in decisions)
    sections = {section: [page for page in pages if page in titles] for section, pages in NAVIGATION.items()}
    sections["Understand"] += others
    sections["Decisions"] = decisions
    navigation = ",\n".join(
        f"  {{ {json.dumps(section)} = ["
        + ", ".join(f"{{ {json.dumps(titles[path])} = {json.dumps(_site_path(path))} }}" for path in pages)
        + "] }"
        for section, pages in sections.items()
        if pages
    )
    return f"""[project]
site_name = "open_responses"
site_description = "The Open Responses API in front of any model provider, each response a durable workflow"
docs_dir = "docs"
site_dir = "site"
use_directory_urls = false
nav = [
{navigation}
]

[project.extra.version]
provider = "mike"
"""


def _version() -> str:
    found = re.search(r'^__version__ = "(.+)"', (ROOT / "open_responses" / "__init__.py").read_text(), re.MULTILINE)
    assert found is not None, "open_responses/__init__.py has no version"
    return found[1]


def _list_versions(site: Path, version: str) -> None:
    """The menu of versions, newest last built first, and a first page that leads to it."""
    file = site / "versions.json"
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    entry = {"version": version, "title": version, "aliases": ["latest"]}
    others = [{**one, "aliases": []} for one in earlier if one["version"] != version]
    site.mkdir(exist_ok=True)
    file.write_text(json.dumps([entry, *others]), encoding="utf-8")
    refresh = f'<meta http-equiv="refresh" content="0; url={version}/index.html">'
    (site / "index.html").write_text(f"<!doctype html><title>open_responses</title>{refresh}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
