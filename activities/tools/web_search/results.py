"""A search, its results, and its failure: what each backend takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from open_responses.tool_use.web_search import Recency, UserLocation, WebSearchOptions


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """One search.

    Attributes:
        query: The words.
        limit: The most results.
        recency: How old pages may be; None for any age.
        allowed_domains: Only pages of these domains and their subdomains; all if empty.
        blocked_domains: No pages of these.
        location: About where the user is.
    """

    query: str
    limit: int = 8
    recency: Recency | None = None
    allowed_domains: Sequence[str] = ()
    blocked_domains: Sequence[str] = ()
    location: UserLocation = field(default_factory=UserLocation)

    @classmethod
    def of(cls, query: str, options: WebSearchOptions, *, limit: int, recency: Recency | None) -> SearchQuery:
        """A search with the settings of a request."""
        return cls(query, limit, recency, options.allowed_domains, options.blocked_domains, options.location)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """One page that was found. `date`: when it was published, as the backend writes it; None if it does not say."""

    title: str
    url: str
    snippet: str = ""
    date: str | None = None


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """The results of a search. `prose`: the text of an MCP tool that does not answer in JSON."""

    results: Sequence[SearchResult]
    prose: str | None = None


class SearchError(Exception):
    """A search that failed, in one sentence for the model and the client. No key and no address is in it.

    Attributes:
        retryable: Whether another attempt may succeed.
        retry_after: Seconds that the backend asks to wait before it; None if it does not say.
    """

    def __init__(self, message: str, *, retryable: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after


class SearchBackend(Protocol):
    """One search service."""

    async def search(self, query: SearchQuery) -> SearchAnswer:
        """Search once. Raises SearchError."""
        ...
