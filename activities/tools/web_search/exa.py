"""Exa's API.

Source: https://exa.ai/docs/reference/search
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from activities.tools.web_search.json_api import JsonApi, entries, text_at
from activities.tools.web_search.results import SearchAnswer, SearchQuery, SearchResult
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.json_types import JsonObject

_MAX_RESULTS = 100
_DAYS = {"day": 1, "week": 7, "month": 31, "year": 366}


class ExaBackend:
    """Asks `/search`, with the sentences of each page that fit the query best."""

    def __init__(self, config: WebSearchConfig, key: str) -> None:
        self._api = JsonApi(
            "Exa",
            config.address,
            headers={"x-api-key": key},
            timeout_seconds=config.wait_seconds,
            key_variable=config.api_key_env,
            secret=key,
        )

    async def search(self, query: SearchQuery) -> SearchAnswer:
        """Search once. Raises SearchError."""
        body: JsonObject = {
            "query": query.query,
            "numResults": min(query.limit, _MAX_RESULTS),
            "contents": {"highlights": True},
        }
        if query.recency is not None:
            since = datetime.now(UTC) - timedelta(days=_DAYS[query.recency])
            body["startPublishedDate"] = since.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        # It takes one of the two; the engine drops results of blocked domains in any case.
        if query.allowed_domains:
            body["includeDomains"] = list(query.allowed_domains)
        elif query.blocked_domains:
            body["excludeDomains"] = list(query.blocked_domains)
        if query.location.country is not None:
            body["userLocation"] = query.location.country
        answer = await self._api.post("/search", body)
        return SearchAnswer(
            [
                SearchResult(
                    title=text_at(entry, "title"),
                    url=text_at(entry, "url"),
                    snippet=" … ".join(_highlights(entry)) or text_at(entry, "text", "summary"),
                    date=text_at(entry, "publishedDate") or None,
                )
                for entry in entries(answer, "results")
            ]
        )


def _highlights(entry: JsonObject) -> list[str]:
    given = entry.get("highlights")
    return [text for text in given if isinstance(text, str)] if isinstance(given, list) else []
