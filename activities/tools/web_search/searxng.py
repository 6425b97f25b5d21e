"""SearXNG, a search engine of one's own that asks others. Its JSON format must be enabled in its `settings.yml`.

Source: https://docs.searxng.org/dev/search_api.html
"""

from __future__ import annotations

from collections.abc import Mapping

from activities.tools.web_search.json_api import JsonApi, entries, text_at
from activities.tools.web_search.results import SearchAnswer, SearchError, SearchQuery, SearchResult
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.json_types import JsonObject

_SHOWN_ENGINES = 5


class SearxngBackend:
    """Asks `/search`. Domains become `site:` operators, which most of its engines understand."""

    def __init__(self, config: WebSearchConfig, key: str | None) -> None:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._language = config.language
        self._api = JsonApi(
            "SearXNG",
            config.address,
            headers=headers,
            timeout_seconds=config.wait_seconds,
            key_variable=config.api_key_env,
            secret=key,
            reads_refusal=_refusal,
        )

    async def search(self, query: SearchQuery) -> SearchAnswer:
        """Search once. Raises SearchError."""
        params = {"q": _with_sites(query), "format": "json"}
        if query.recency is not None:
            params["time_range"] = query.recency
        if self._language is not None:
            country = query.location.country
            params["language"] = f"{self._language}-{country}" if country else self._language
        answer = await self._api.get("/search", params)
        results = [
            SearchResult(
                title=text_at(entry, "title"),
                url=text_at(entry, "url"),
                snippet=text_at(entry, "content"),
                date=text_at(entry, "publishedDate") or None,
            )
            for entry in entries(answer, "results")
        ]
        if not results and (silent := _unresponsive(answer)):
            raise SearchError(
                f"SearXNG found nothing, because these of its engines did not answer: {silent}.", retryable=True
            )
        return SearchAnswer(results)


def _with_sites(query: SearchQuery) -> str:
    allowed = [f"site:{domain}" for domain in query.allowed_domains]
    blocked = [f"-site:{domain}" for domain in query.blocked_domains]
    only = f"({' OR '.join(allowed)})" if len(allowed) > 1 else "".join(allowed)
    return " ".join(part for part in (query.query, only, *blocked) if part)


def _unresponsive(answer: JsonObject) -> str:
    """The engines that did not answer, each with the reason: pairs in the answer."""
    given = answer.get("unresponsive_engines")
    pairs = given[:_SHOWN_ENGINES] if isinstance(given, list) else []
    return ", ".join(" ".join(map(str, pair))[:80] if isinstance(pair, list) else str(pair)[:80] for pair in pairs)


def _refusal(status: int, body: JsonObject, headers: Mapping[str, str]) -> SearchError | None:
    if status == 403:
        return SearchError(
            "SearXNG refused the search (403). If you operate the server, add 'json' to search.formats in SearXNG's "
            "settings.yml."
        )
    return None
