"""The settings of a request's `web_search` act, or the request is refused with the path of the setting."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import ValidationError

from activities.tools.web_search.engine import parts_of, places_of
from activities.tools.web_search.pages import Answer
from activities.tools.web_search.robots import Robots
from api.responses.validate import check_settings
from open_responses.config import Config
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.errors import InvalidRequest
from open_responses.schema.requests import validate_create_response
from open_responses.tool_use.web_search import UserLocation, functions_of, read_options

SEARXNG = WebSearchConfig.model_validate({"backend": "searxng", "url": "http://search.internal:8080/"})
MCP: dict[str, Any] = {"backend": "mcp", "mcp_server": "search", "mcp_tool": "find"}


def read(config: WebSearchConfig = SEARXNG, **settings: Any) -> Any:
    return read_options({"type": "web_search", **settings}, config, "tools[1]")


def test_domains_are_host_names_in_one_spelling() -> None:
    given = ["Example.com", "https://docs.example.org/", "münchen.de", "example.com"]
    assert read(filters={"allowed_domains": given}).allowed_domains == (
        "example.com",
        "docs.example.org",
        "xn--mnchen-3ya.de",
    )


@pytest.mark.parametrize(
    ("allowed", "blocked", "url", "is_allowed"),
    [
        ((), (), "https://any.example/", True),
        (("example.com",), (), "https://example.com/x", True),
        (("example.com",), (), "https://docs.example.com./x", True),
        (("example.com",), (), "https://notexample.com/", False),
        (("example.com",), (), "https://example.com.evil.example/", False),
        (("example.com",), (), "https://evil.example/?example.com", False),
        (("example.com",), ("private.example.com",), "https://a.private.example.com/", False),
        (("example.com",), (), "http://[broken", False),
    ],
)
def test_a_domain_includes_its_subdomains_and_nothing_else(
    allowed: tuple[str, ...], blocked: tuple[str, ...], url: str, is_allowed: bool
) -> None:
    options = read(filters={"allowed_domains": list(allowed), "blocked_domains": list(blocked)})
    assert options.allows(url) is is_allowed


def test_a_location_has_any_of_its_parts() -> None:
    given = {"type": "approximate", "city": "Berlin", "country": "de", "timezone": "Europe/Berlin", "region": None}
    location = read(user_location=given).location
    assert location == UserLocation(city="Berlin", country="DE", timezone="Europe/Berlin")
    assert location.in_words() == "Berlin, DE (time zone Europe/Berlin)"
    assert read(user_location={"type": "approximate"}).location.in_words() == ""


def test_the_model_reads_where_the_user_is_and_which_sites_are_searched() -> None:
    tool = {"type": "web_search", "user_location": {"city": "Berlin"}, "filters": {"allowed_domains": ["example.com"]}}
    search, open_page, find = functions_of(tool)
    assert "near Berlin" in (search.description or "")
    assert "example.com" in (search.description or "")
    assert (open_page.name, find.name) == ("open_page", "find_in_page")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"filters": []}, "filters"),
    ({"filters": {"allowed_domains": "example.com"}}, "filters.allowed_domains"),
    ({"filters": {"allowed_domains": [5]}}, "filters.allowed_domains"),
    ({"filters": {"allowed_domains": ["a.example"] * 101}}, "filters.allowed_domains"),
    ({"filters": {"allowed_domains": ["ok.example", ""]}}, "filters.allowed_domains[1]"),
    ({"filters": {"allowed_domains": ["example.com/path"]}}, "filters.allowed_domains[0]"),
    ({"filters": {"blocked_domains": ["a b"]}}, "filters.blocked_domains[0]"),
    ({"filters": {"blocked_domains": ["x" * 300]}}, "filters.blocked_domains[0]"),
    ({"filters": {"blocked_domains": ["a.example\r\n$discard"]}}, "filters.blocked_domains[0]"),
    ({"filters": {"domains": ["a.example"]}}, "filters.domains"),
    ({"search_context_size": "huge"}, "search_context_size"),
    ({"search_context_size": ["low"]}, "search_context_size"),
    ({"user_location": "Berlin"}, "user_location"),
    ({"user_location": {"type": "exact"}}, "user_location.type"),
    ({"user_location": {"country": "Germany"}}, "user_location.country"),
    ({"user_location": {"country": 5}}, "user_location.country"),
    ({"user_location": {"timezone": "x\r\ny: z"}}, "user_location.timezone"),
    ({"user_location": {"city": "x\ny"}}, "user_location.city"),
    ({"user_location": {"region": "x" * 101}}, "user_location.region"),
    ({"user_location": {"street": "x"}}, "user_location.street"),
    ({"external_web_access": False}, "external_web_access"),
    ({"image_settings": {"max": 3}}, "image_settings"),
    ({"search_content_types": ["image"]}, "search_content_types"),
]


@pytest.mark.parametrize(("settings", "path"), BAD)
def test_a_setting_that_cannot_act_is_refused_by_its_path(settings: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**settings)
    assert caught.value.param == f"tools[1].{path}"
    assert caught.value.message.startswith(f"'tools[1].{path}' ")


def test_a_setting_that_is_null_or_says_what_holds_anyway_is_accepted() -> None:
    read(filters=None, user_location=None, search_context_size=None, external_web_access=True, image_settings=None)
    read(search_content_types=["text"])


def test_an_mcp_tool_without_an_argument_for_domains_cannot_be_asked_for_some() -> None:
    plain = WebSearchConfig.model_validate(MCP)
    with pytest.raises(InvalidRequest, match="an MCP tool without such an argument"):
        read(plain, filters={"allowed_domains": ["example.com"]})
    able = WebSearchConfig.model_validate({**MCP, "mcp_arguments": {"q": "{query}", "sites": "{allowed_domains}"}})
    assert read(able, filters={"allowed_domains": ["example.com"]}).allowed_domains == ("example.com",)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "backend is missing"),
        ({"backend": "google"}, "Input should be"),
        ({"backend": "searxng"}, "url is missing"),
        ({"backend": "searxng", "url": "search:8080"}, "String should match"),
        ({"backend": "brave"}, "api_key_env is missing"),
        ({"backend": "tavily", "api_key_env": "K", "mcp_tool": "x"}, "need backend = 'mcp'"),
        ({"backend": "mcp", "mcp_server": "search"}, "and mcp_tool"),
        ({**MCP, "url": "http://a"}, "neither url nor api_key_env"),
        ({**MCP, "mcp_arguments": {"q": "query"}}, "no value of mcp_arguments is '{query}'"),
        ({"backend": "exa", "api_key_env": "K", "wait_seconds": 90}, "longer than timeout_seconds"),
        ({"backend": "exa", "api_key_env": "K", "private_hosts": ["http://wiki"]}, "is not a host"),
        ({"backend": "exa", "api_key_env": "K", "contact": "a\r\nb"}, "String should match"),
        ({"backend": "exa", "api_key_env": "K", "tyop": 1}, "Extra inputs"),
    ],
)
def test_a_table_that_cannot_work_is_refused(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        WebSearchConfig.model_validate(table)


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
def test_the_parts_of_a_text_are_bounded_and_have_all_of_its_words(size: int) -> None:
    text = "Some words.\n\nAnother paragraph of words, and averylongwordthatmustbecut.\nLine\n" * 5
    parts = parts_of(text, size)
    assert all(0 < len(part) <= size for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert parts_of("  \n ", size) == []


def test_a_request_is_refused_before_it_starts_where_the_backend_cannot_follow_it() -> None:
    config = Config.model_validate({"web_search": {"backend": "searxng", "url": "http://127.0.0.1:1"}})
    request = {"model": "m", "input": "x", "tools": [{"type": "web_search", "filters": {"allowed_domains": ["a b"]}}]}
    with pytest.raises(InvalidRequest, match="must be a domain such as"):
        check_settings(config, validate_create_response(request), [0])
    own = Config.model_validate({"web_search": {"target": "tests.support.built_in_engines:Search"}})
    check_settings(own, validate_create_response(request), [0])


def test_the_mcp_server_of_a_search_has_to_be_configured() -> None:
    with pytest.raises(ValidationError, match="names the mcp_server 'search', which is not in"):
        Config.model_validate({"web_search": MCP})


def test_a_page_is_searched_without_regard_to_case_and_kind_of_spaces() -> None:
    text = "Before.\n\nThe  Quick\n\tbrown \N{LATIN CAPITAL LETTER I WITH DOT ABOVE} fox. After; the quick brown rest."
    places, number = places_of(text, " THE quick brown ")
    assert number == 2
    assert "Quick" in places[0]
    assert "fox" in places[0]
    assert places_of(text, "quick fox") == ([], 0)


def test_a_page_of_near_matches_is_searched_in_linear_time() -> None:
    """With a regular expression for the spaces, this took seconds, in which the worker did nothing else."""

    def seconds(words: int) -> float:
        began = time.process_time()
        assert places_of("a " * 500_000, "a " * words + "b") == ([], 0)
        return time.process_time() - began

    short = seconds(1)
    assert seconds(99) < 10 * short + 0.5


async def test_rules_of_sites_are_kept_up_to_a_size() -> None:
    asked: list[str] = []

    class Fetcher:
        async def get(self, url: str, *_: object, **__: object) -> tuple[str, Answer]:
            asked.append(url)
            return url, Answer(200, None, "text/plain", b"User-agent: *\nDisallow: /closed\n" + b"#" * 500_000)

    robots = Robots(Fetcher())  # type: ignore[arg-type]
    for number in range(20):
        await robots.check(f"https://{number}.example/page")
    await robots.check("https://19.example/page")
    assert len(asked) == 20, "the newest is kept"
    await robots.check("https://0.example/page")
    assert len(asked) == 21
