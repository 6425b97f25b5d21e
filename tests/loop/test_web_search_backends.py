"""Each search service in its own wire format, over real sockets: requests, results, and every way to refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from activities.tools.web_search.mcp_search import answer_of, arguments_of
from activities.tools.web_search.results import SearchError, SearchQuery
from open_responses.testing.loopback import Asked, Canned, Loopback
from open_responses.tool_use.web_search import UserLocation
from tests.support.search_vendors import ANSWERS, KEY, REFUSALS, VENDORS, Refusal, backend_at

BERLIN = UserLocation(city="Berlin", region="Berlin", country="DE", timezone="Europe/Berlin")
ZURICH = UserLocation(city="Zürich", country="CH")


async def asked_for(vendor: str, query: SearchQuery, **settings: Any) -> Asked:
    """The request that a search makes."""
    async with Loopback(Canned(json.dumps(ANSWERS[vendor]).encode())) as upstream:
        await backend_at(vendor, upstream.port, **settings).search(query)
    return upstream.asked[0]


def params(asked: Asked) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(asked.head.split(" ")[1]).query).items()}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_search_finds_titles_addresses_excerpts_and_dates(vendor: str) -> None:
    async with Loopback(Canned(json.dumps(ANSWERS[vendor]).encode())) as upstream:
        answer = await backend_at(vendor, upstream.port).search(SearchQuery("durable workflows"))
    first, second = answer.results
    assert (first.title, first.url) == ("Workflows", "https://docs.example.com/workflows")
    assert "survives its worker" in first.snippet
    assert "2026" in (first.date or "")
    assert (second.url, second.snippet, second.date) == ("https://blog.example.org/durable", "Kill it.", None)


WHOLE = SearchQuery(
    "durable workflows",
    limit=5,
    recency="week",
    allowed_domains=("a.example", "b.example"),
    blocked_domains=("bad.a.example",),
    location=BERLIN,
)


async def test_searxng_is_asked_for_json_with_sites_in_the_query() -> None:
    asked = await asked_for("searxng", WHOLE, language="de")
    assert asked.head.startswith("GET /search?")
    assert params(asked) == {
        "q": "durable workflows (site:a.example OR site:b.example) -site:bad.a.example",
        "format": "json",
        "time_range": "week",
        "language": "de-DE",
    }


async def test_brave_is_asked_with_a_goggle_and_the_location_in_headers() -> None:
    asked = await asked_for("brave", WHOLE, language="de")
    assert asked.head.startswith("GET /web/search?")
    assert params(asked) == {
        "q": "durable workflows",
        "count": "5",
        "result_filter": "web",
        "text_decorations": "false",
        "freshness": "pw",
        "country": "DE",
        "search_lang": "de",
        "goggles": "$discard\n$site=a.example\n$site=b.example\n$discard,site=bad.a.example",
    }
    head = asked.head.lower()
    assert f"x-subscription-token: {KEY}" in head
    assert "x-loc-city: berlin" in head
    assert "x-loc-timezone: europe/berlin" in head


async def test_brave_is_not_sent_a_place_that_no_header_can_have() -> None:
    asked = await asked_for("brave", SearchQuery("x", location=ZURICH))
    assert "x-loc-city" not in asked.head.lower()
    assert params(asked)["country"] == "CH"


async def test_tavily_is_asked_with_lists_of_domains() -> None:
    asked = await asked_for("tavily", WHOLE, language="de")
    assert asked.head.startswith("POST /search ")
    assert f"authorization: bearer {KEY}" in asked.head.lower()
    assert asked.json == {
        "query": "durable workflows",
        "max_results": 5,
        "time_range": "week",
        "include_domains": ["a.example", "b.example"],
        "exclude_domains": ["bad.a.example"],
        "country": "germany",
        "language": "de",
    }


async def test_exa_is_asked_for_highlights_of_pages_since_a_date() -> None:
    asked = await asked_for("exa", WHOLE)
    assert asked.head.startswith("POST /search ")
    assert f"x-api-key: {KEY}" in asked.head.lower()
    body = asked.json
    since = body.pop("startPublishedDate")
    assert len(since) == len("2026-11-21T00:00:00.000Z")
    assert body == {
        "query": "durable workflows",
        "numResults": 5,
        "contents": {"highlights": True},
        "includeDomains": ["a.example", "b.example"],
        "userLocation": "DE",
    }
    blocked = await asked_for("exa", SearchQuery("x", blocked_domains=("c.example",)))
    assert blocked.json["excludeDomains"] == ["c.example"]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda one: f"{one.vendor}-{one.status}-{one.says[:20]}")
async def test_each_refusal_is_one_sentence_that_says_whether_to_try_again(refusal: Refusal) -> None:
    async with Loopback(refusal.canned) as upstream:
        with pytest.raises(SearchError) as caught:
            await backend_at(refusal.vendor, upstream.port).search(SearchQuery("x"))
    error = caught.value
    assert refusal.says in error.message
    assert (error.retryable, error.retry_after) == (refusal.retryable, refusal.retry_after)
    assert KEY not in error.message
    assert str(upstream.port) not in error.message


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_service_that_sends_nothing_or_is_away_may_be_tried_again(vendor: str) -> None:
    async with Loopback() as silent:
        with pytest.raises(SearchError, match="did not answer within") as late:
            await backend_at(vendor, silent.port, wait_seconds=0.2).search(SearchQuery("x"))
    with pytest.raises(SearchError, match="cannot be reached") as away:
        await backend_at(vendor, silent.port).search(SearchQuery("x"))
    assert late.value.retryable
    assert away.value.retryable


ODD: list[Any] = [None, 5, "x", True, [], {}, [None], {"a": 1}, -1.5]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(one for name, child in inner for one in paths(child, (*path, name)))]


def with_odd(value: Any, path: tuple[Any, ...], odd: Any) -> Any:
    copy = json.loads(json.dumps(value))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = odd
    return copy


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_member_of_another_type_takes_no_search_down(vendor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    backend: Any = backend_at(vendor, 1)

    async def answer(*_: Any, **__: Any) -> dict[str, Any]:
        return given

    monkeypatch.setattr(backend, "_api", type("Api", (), {"get": answer, "post": answer})())
    for path in paths(ANSWERS[vendor])[1:]:
        for odd in ODD:
            given = with_odd(ANSWERS[vendor], path, odd)
            try:
                results = (await backend.search(SearchQuery("x"))).results
            except SearchError:
                continue
            assert all(isinstance(text, str) for one in results for text in (one.title, one.url, one.snippet))


async def test_no_result_is_told_from_engines_that_did_not_answer() -> None:
    empty = {**ANSWERS["searxng"], "results": []}
    async with Loopback(Canned(json.dumps(empty).encode())) as upstream:
        with pytest.raises(SearchError, match="google Suspended: CAPTCHA") as caught:
            await backend_at("searxng", upstream.port).search(SearchQuery("x"))
        assert caught.value.retryable
    nothing = {**empty, "unresponsive_engines": []}
    async with Loopback(Canned(json.dumps(nothing).encode())) as upstream:
        assert (await backend_at("searxng", upstream.port).search(SearchQuery("x"))).results == []


def test_an_mcp_tool_gets_its_arguments_in_their_own_types() -> None:
    template = {"q": "{query}", "n": "{limit}", "days": "{recency}", "only": "{allowed_domains}", "lang": "en", "k": 3}
    query = SearchQuery("words", limit=4, allowed_domains=("a.example",))
    assert arguments_of(template, query) == {"q": "words", "n": 4, "only": ["a.example"], "lang": "en", "k": 3}


@pytest.mark.parametrize(
    "write",
    [
        lambda results: json.dumps(results),
        lambda results: json.dumps({"results": results}),
        lambda results: json.dumps({"data": {"web": {"items": results}}}),
    ],
)
def test_results_of_an_mcp_tool_are_found_wherever_they_lie(write: Callable[[Any], str]) -> None:
    answer = answer_of(write([{"title": "A", "link": "https://a.example", "description": "a"}, {"x": 1}]), 5)
    assert [(one.title, one.url, one.snippet) for one in answer.results] == [("A", "https://a.example", "a")]
    assert answer.prose is None


def test_of_an_mcp_tools_prose_the_addresses_are_read() -> None:
    answer = answer_of("Title: A\nURL: https://a.example/x.\nSee (https://b.example/y) and https://a.example/x", 5)
    assert [one.url for one in answer.results] == ["https://a.example/x", "https://b.example/y"]
    assert answer.prose is not None
