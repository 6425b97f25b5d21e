"""Tavily's API.

Source: https://docs.tavily.com/documentation/api-reference/endpoint/search
"""

from __future__ import annotations

from activities.tools.web_search.json_api import JsonApi, entries, text_at
from activities.tools.web_search.results import SearchAnswer, SearchQuery, SearchResult
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.json_types import JsonObject

_MAX_RESULTS = 20
# The API takes names instead of codes. A country without a row is only in the function's description.
_COUNTRIES = {
    "AR": "argentina",
    "AT": "austria",
    "AU": "australia",
    "BE": "belgium",
    "BR": "brazil",
    "CA": "canada",
    "CH": "switzerland",
    "CL": "chile",
    "CN": "china",
    "CO": "colombia",
    "DE": "germany",
    "DK": "denmark",
    "EG": "egypt",
    "ES": "spain",
    "FI": "finland",
    "FR": "france",
    "GB": "united kingdom",
    "GR": "greece",
    "ID": "indonesia",
    "IE": "ireland",
    "IL": "israel",
    "IN": "india",
    "IT": "italy",
    "JP": "japan",
    "KE": "kenya",
    "KR": "south korea",
    "MX": "mexico",
    "MY": "malaysia",
    "NG": "nigeria",
    "NL": "netherlands",
    "NO": "norway",
    "NZ": "new zealand",
    "PH": "philippines",
    "PK": "pakistan",
    "PL": "poland",
    "PT": "portugal",
    "SE": "sweden",
    "SG": "singapore",
    "TH": "thailand",
    "UA": "ukraine",
    "US": "united states",
    "VN": "vietnam",
    "ZA": "south africa",
}


class TavilyBackend:
    """Asks `/search`."""

    def __init__(self, config: WebSearchConfig, key: str) -> None:
        self._language = config.language
        self._api = JsonApi(
            "Tavily",
            config.address,
            headers={"authorization": f"Bearer {key}"},
            timeout_seconds=config.wait_seconds,
            key_variable=config.api_key_env,
            secret=key,
        )

    async def search(self, query: SearchQuery) -> SearchAnswer:
        """Search once. Raises SearchError."""
        body: JsonObject = {"query": query.query, "max_results": min(query.limit, _MAX_RESULTS)}
        if query.recency is not None:
            body["time_range"] = query.recency
        if query.allowed_domains:
            body["include_domains"] = list(query.allowed_domains)
        if query.blocked_domains:
            body["exclude_domains"] = list(query.blocked_domains)
        if (country := _COUNTRIES.get(query.location.country or "")) is not None:
            body["country"] = country
        if self._language is not None:
            body["language"] = self._language
        answer = await self._api.post("/search", body)
        return SearchAnswer(
            [
                SearchResult(
                    title=text_at(entry, "title"),
                    url=text_at(entry, "url"),
                    snippet=text_at(entry, "content"),
                    date=text_at(entry, "published_date") or None,
                )
                for entry in entries(answer, "results")
            ]
        )
