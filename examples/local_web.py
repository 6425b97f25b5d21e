"""A small web on this machine: pages, and a search engine over them that answers as SearXNG does.

`python -m examples.local_web 8099` serves this project's documents, one page each. In place of it, `[web_search]` of
`open_responses.toml` names SearXNG, Brave, Tavily, Exa or an MCP server.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import math
import re
from collections import Counter
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route

_ROOT = Path(__file__).parent.parent
_WORD = re.compile(r"[a-z]{3,}")
_SHOWN = 10
# As long as a search service takes.
_PAUSE_SECONDS = 0.3


class Page:
    """A document as a page. `words` counts its words."""

    def __init__(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        self.name = path.stem.lower()
        self.title = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")), self.name)
        self.text = text
        self.words = Counter(_WORD.findall(text.lower()))

    @property
    def as_html(self) -> str:
        """The page with a menu and a footer, as pages have them."""
        blocks = (block.strip() for block in re.split(r"\n\s*\n", self.text))
        body = "\n".join(_block(block) for block in blocks if block)
        menu = "".join(f'<a href="/pages/{page.name}">{html.escape(page.title)}</a> ' for page in PAGES.values())
        return (
            f"<!doctype html><html><head><title>{html.escape(self.title)}</title></head><body><nav>{menu}</nav>"
            f"<article>{body}</article><footer>Imprint. Cookies.</footer></body></html>"
        )

    def score(self, asked: list[str]) -> float:
        """How well the page fits the words: often in it, and in few others."""
        rare = {
            word: math.log(len(PAGES) / (1 + sum(word in page.words for page in PAGES.values())) + 1) for word in asked
        }
        found = sum(math.log1p(self.words[word]) * rare[word] for word in asked)
        # A long page has many words.
        return found / (10 + sum(self.words.values())) ** 0.3

    def excerpt(self, asked: list[str]) -> str:
        """The line that has most of the words."""
        lines = [line.strip("# ") for line in self.text.splitlines() if len(line) > 40]
        return max(lines, key=lambda line: sum(word in line.lower() for word in asked), default="")[:300]


def _block(block: str) -> str:
    if block.startswith("#"):
        level = min(6, len(block) - len(block.lstrip("#")))
        return f"<h{level}>{html.escape(block.lstrip('# '))}</h{level}>"
    return f"<p>{html.escape(block)}</p>"


PAGES = {
    page.name: page
    for page in map(Page, [_ROOT / "README.md", _ROOT / "SECURITY.md", *sorted(_ROOT.glob("docs/*.md"))])
}


async def page(request: Request) -> HTMLResponse:
    """One page."""
    await asyncio.sleep(_PAUSE_SECONDS)
    found = PAGES.get(request.path_params["name"])
    return HTMLResponse("Not here.", status_code=404) if found is None else HTMLResponse(found.as_html)


async def search(request: Request) -> JSONResponse:
    """The best pages, in SearXNG's JSON."""
    await asyncio.sleep(_PAUSE_SECONDS)
    asked = _WORD.findall(request.query_params.get("q", "").lower())
    best = sorted(((found.score(asked), found) for found in PAGES.values()), key=lambda pair: -pair[0])[:_SHOWN]
    results = [
        {
            "url": str(request.url_for("page", name=found.name)),
            "title": found.title,
            "content": found.excerpt(asked),
            "engine": "local",
            "score": score,
            "category": "general",
        }
        for score, found in best
        if score > 0
    ]
    return JSONResponse(
        {"query": request.query_params.get("q", ""), "number_of_results": len(results), "results": results}
    )


async def robots(_: Request) -> PlainTextResponse:
    """Everything may be read."""
    return PlainTextResponse("User-agent: *\nAllow: /\n")


app = Starlette(
    routes=[
        Route("/search", search),
        Route("/robots.txt", robots),
        Route("/pages/{name}", page, name="page"),
    ]
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.local_web", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port, log_level="warning")
