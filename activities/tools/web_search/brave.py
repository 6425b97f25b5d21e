"""Brave Search's API. Domains become an inline goggle, its language for filters.

Source: https://api-dashboard.search.brave.com/api-reference/web/search/get
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

from activities.tools.web_search.json_api import LONGEST_WAIT_SECONDS, JsonApi, entries, text_at
from activities.tools.web_search.results import SearchAnswer, SearchError, SearchQuery, SearchResult
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.json_types import JsonObject

_FRESHNESS = {"day": "pd", "week": "pw", "month": "pm", "year": "py"}
_COUNTRIES = frozenset(
    {
        *("AR", "AU", "AT", "BE", "BR", "CA", "CH", "CL", "CN", "DE", "DK", "ES", "FI", "FR", "GB", "GR", "HK", "ID"),
        *("IN", "IT", "JP", "KR", "MX", "MY", "NL", "NO", "NZ", "PH", "PL", "PT", "RU", "SA", "SE", "TR", "TW", "US"),
        "ZA",
    }
)
_MAX_COUNT = 20
_MAX_WORDS = 50
_TAG = re.compile(r"</?[a-z]{1,10}>")


class BraveBackend:
    """Asks `/web/search`."""

    def __init__(self, config: WebSearchConfig, key: str) -> None:
        self._language = config.language
        self._api = JsonApi(
            "Brave",
            config.address,
            headers={"x-subscription-token": key},
            timeout_seconds=config.wait_seconds,
            key_variable=config.api_key_env,
            secret=key,
            reads_refusal=lambda status, body, headers: _refusal(status, body, headers, config.api_key_env),
        )

    async def search(self, query: SearchQuery) -> SearchAnswer:
        """Search once. Raises SearchError."""
        params = {
            "q": " ".join(query.query.split()[:_MAX_WORDS]),
            "count": str(min(query.limit, _MAX_COUNT)),
            "result_filter": "web",
            "text_decorations": "false",
        }
        if query.recency is not None:
            params["freshness"] = _FRESHNESS[query.recency]
        if query.location.country in _COUNTRIES:
            params["country"] = query.location.country or ""
        if self._language is not None:
            params["search_lang"] = self._language
        if goggle := _goggle(query):
            params["goggles"] = goggle
        answer = await self._api.get("/web/search", params, _place(query))
        return SearchAnswer(
            [
                SearchResult(
                    title=_without_markup(text_at(entry, "title")),
                    url=text_at(entry, "url"),
                    snippet=_without_markup(" … ".join(_texts(entry))),
                    date=text_at(entry, "page_age", "age") or None,
                )
                for entry in entries(answer, "web", "results")
            ]
        )


def _texts(entry: JsonObject) -> list[str]:
    more = entry.get("extra_snippets")
    extra = [text for text in more if isinstance(text, str)] if isinstance(more, list) else []
    return [text for text in (text_at(entry, "description"), *extra) if text]


def _goggle(query: SearchQuery) -> str:
    """Rules that drop all but the allowed domains, and the blocked ones."""
    only = ["$discard", *(f"$site={domain}" for domain in query.allowed_domains)] if query.allowed_domains else []
    return "\n".join([*only, *(f"$discard,site={domain}" for domain in query.blocked_domains)])


def _place(query: SearchQuery) -> dict[str, str]:
    """The location as headers. They have no agreed form for letters beyond ASCII, so such a place is left out: the
    model reads it in the function's description."""
    place = query.location
    named = {
        "x-loc-city": place.city,
        "x-loc-state-name": place.region,
        "x-loc-country": place.country,
        "x-loc-timezone": place.timezone,
    }
    return {name: value for name, value in named.items() if value is not None and value.isascii()}


def _without_markup(text: str) -> str:
    return html.unescape(_TAG.sub("", text))


def _refusal(status: int, body: JsonObject, headers: Mapping[str, str], key_variable: str | None) -> SearchError | None:
    error = body.get("error")
    code = text_at(error, "code") if isinstance(error, dict) else ""
    if code == "SUBSCRIPTION_TOKEN_INVALID":
        # With the status 422, as for an invalid parameter.
        return SearchError(f"The search backend Brave refused the API key: check the key in {key_variable}.")
    if status == 429 and "retry-after" not in headers:
        wait = _until_reset(headers)
        if wait is not None and wait > LONGEST_WAIT_SECONDS:
            return SearchError("The search backend Brave has reached the quota of the configured key.")
        return SearchError("The search backend Brave has reached its rate limit.", retryable=True, retry_after=wait)
    return None


def _until_reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until a limit that is used up is lifted. There are several windows, such as a second and a month."""
    left = [part.strip() for part in headers.get("x-ratelimit-remaining", "").split(",")]
    resets = [part.strip() for part in headers.get("x-ratelimit-reset", "").split(",")]
    waits = [float(reset) for one, reset in zip(left, resets, strict=False) if one == "0" and reset.isdigit()]
    return max(waits, default=None)
