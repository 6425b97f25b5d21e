"""Whether a site's `robots.txt` lets this server read a page (RFC 9309).

A model reads pages on its own, many in a row, so the server keeps to the file as a crawler would, unless the operator
decides otherwise. The model reads which rule closes a page, so that it does not take the page for missing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit
from urllib.robotparser import RobotFileParser

from activities.tools.web_search.pages import PageError, PageFetcher
from open_responses.tool_use.web_search import WebSearchOptions

ROBOT = "OpenResponses"
"""The name by which a `robots.txt` addresses this server."""
MAX_BYTES = 512 * 1024
_KEPT_SECONDS = 600.0
# Of all files. Parsed, a file takes ten times its size.
_KEPT_BYTES = 4 * 1024 * 1024
# A site without a file takes a place, too.
_LEAST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class _Kept:
    until: float
    rules: RobotFileParser | None
    size: int


class Robots:
    """The rules of sites, each kept for ten minutes."""

    def __init__(self, fetcher: PageFetcher) -> None:
        self._fetcher = fetcher
        self._kept: dict[str, _Kept] = {}

    async def check(self, url: str) -> None:
        """Raise PageError if the site's file closes the page, or the site cannot say so."""
        parts = urlsplit(url)
        rules = await self._rules(f"{parts.scheme}://{parts.netloc}")
        if rules is not None and not await asyncio.to_thread(rules.can_fetch, ROBOT, url):
            raise PageError(
                f"The robots.txt of {parts.netloc[:200]} does not let {ROBOT} read this page. Use another source."
            )

    async def _rules(self, site: str) -> RobotFileParser | None:
        """The rules of a site; None if it has none."""
        kept = self._kept.get(site)
        if kept is not None and kept.until > time.monotonic():
            return kept.rules
        rules, size = await self._read(site)
        self._kept.pop(site, None)
        self._kept[site] = _Kept(time.monotonic() + _KEPT_SECONDS, rules, max(size, _LEAST_BYTES))
        while sum(one.size for one in self._kept.values()) > _KEPT_BYTES:
            # The oldest.
            del self._kept[next(iter(self._kept))]
        return rules

    async def _read(self, site: str) -> tuple[RobotFileParser | None, int]:
        """The rules, and the bytes that they were read from."""
        # The request's filters are about pages that the model reads.
        _, answer = await self._fetcher.get(f"{site}/robots.txt", WebSearchOptions(), max_bytes=MAX_BYTES)
        if answer.status >= 500:
            raise PageError(f"The robots.txt of {site[:200]} cannot be read (status {answer.status}), so no page is.")
        if answer.status >= 400:
            return None, 0
        rules = RobotFileParser()
        await asyncio.to_thread(rules.parse, answer.body.decode(errors="replace").splitlines())
        return rules, len(answer.body)
