"""The text of a page, and the contract of what makes it (`activities/tool_calls/page_extraction.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from activities.tools.web_search.pages import Fetched


@dataclass(frozen=True, slots=True)
class PageText:
    """A page as text. `is_cut`: whether the text behind it was left out."""

    url: str
    title: str
    date: str
    text: str
    is_cut: bool = False


class Extraction(Protocol):
    """Makes text of pages. One page must not hold the event loop, and with it all responses of the worker."""

    async def text_of(self, page: Fetched, tenant: str) -> PageText:
        """The page as text. Raises PageError for a page that has none, or takes too much to extract."""
        ...

    async def close(self) -> None:
        """Release what it has."""
        ...
