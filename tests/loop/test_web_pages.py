"""Pages whose addresses come from a model: read as text, or refused with a sentence. None reaches a private network,
holds the worker, or fills its memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from activities.tool_calls.page_extraction import PageExtraction
from activities.tools.web_search import extractor
from activities.tools.web_search.engine import WebSearchEngine
from activities.tools.web_search.extraction import Extraction
from activities.tools.web_search.pages import Answer, Fetched, PageError, PageFetcher, checked_url
from activities.tools.web_search.results import SearchAnswer, SearchQuery, SearchResult
from activities.tools.web_search.robots import Robots
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.contracts import ToolContext, ToolError
from open_responses.tool_use.built_in_engine import BuiltInResult, BuiltInRun
from open_responses.tool_use.web_search import WebSearchOptions
from tests.support.odd_site import ROBOTS, OddSite


class Found:
    """A backend with these results."""

    def __init__(self, *results: SearchResult) -> None:
        self._results = results

    async def search(self, query: SearchQuery) -> SearchAnswer:
        return SearchAnswer(self._results)


@dataclass
class Web:
    site: OddSite
    engine: WebSearchEngine

    async def call(self, function: str, settings: dict[str, Any] | None = None, **arguments: Any) -> BuiltInResult:
        context = ToolContext(response_id="resp_1", call_id="call_1", tool="web_search", tenant="acme")
        given = {"type": "web_search", **(settings or {})}
        return await self.engine.run(BuiltInRun(context, function, arguments, given, {"id": "ws_1"}))

    async def text(self, path: str) -> str:
        return str((await self.call("open_page", url=self.site.at(path))).output)


def engine(site: OddSite, extraction: Extraction, *results: SearchResult, **settings: Any) -> WebSearchEngine:
    table = {"backend": "searxng", "url": "http://127.0.0.1:1", "private_hosts": (site.host,), **settings}
    return WebSearchEngine(WebSearchConfig.model_validate(table), Found(*results), extraction)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def extraction() -> AsyncIterator[Extraction]:
    processes = PageExtraction()
    yield processes
    await processes.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def web(extraction: Extraction) -> AsyncIterator[Web]:
    async with OddSite() as site:
        yield Web(site, engine(site, extraction, wait_seconds=10))


async def test_a_page_is_read_as_its_article_without_menus(web: Web) -> None:
    result = await web.call("open_page", url=web.site.at("/article"))
    text = str(result.output)
    assert "survives the death of its worker" in text
    assert "Größe" in text
    assert "Products" not in text
    assert "Cookies" not in text
    assert text.startswith(f"【1:1】 The page 'Durable workflows' at {web.site.at('/article')}, of 2026-03-01.")
    assert result.item["action"] == {"type": "open_page", "url": web.site.at("/article")}
    assert result.citations == [{"type": "url_citation", "url": web.site.at("/article"), "title": "Durable workflows"}]


@pytest.mark.parametrize(
    "path",
    [
        *("/latin1", "/latin1-unsaid", "/latin1-said-utf8", "/utf8-said-latin1", "/utf8-said-utf16", "/utf16"),
        *("/utf16le", "/charset-unknown", "/charset-base64", "/untyped", "/gzip", "/moved"),
    ],
)
async def test_what_a_page_says_of_its_encoding_may_be_wrong(web: Web, path: str) -> None:
    text = await web.text(path)
    assert "Größe" in text
    assert "survives the death" in text


async def test_plain_text_and_json_are_read_as_they_are(web: Web) -> None:
    assert "Just a line of text." in await web.text("/plain")
    assert '{"answer": 42}' in await web.text("/json")
    assert "これは日本語のページです。" in await web.text("/japanese")


@pytest.mark.parametrize("path", ["/pdf", "/pdf-said-text"])
async def test_a_pdf_is_read_by_its_bytes(web: Web, path: str) -> None:
    assert "A workflow survives." in await web.text(path)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/loop", "redirects more than 5 times"),
        ("/to-metadata", "on a private network"),
        ("/to-localhost", "on a private network"),
        ("/to-decimal", "on a private network"),
        ("/to-file", "only addresses with http:// and https:// can"),
        ("/to-user", "has a user name"),
        ("/to-nonsense", "is not the address of a page"),
        ("/huge", "larger than 5,242,880 bytes"),
        ("/bomb", "larger than 5,242,880 bytes"),
        ("/brotli", "compressed in a way that was not asked for"),
        ("/not-gzip", "not compressed as it says"),
        ("/binary", "of type application/octet-stream, which is not text"),
        ("/picture", "of type image/png, which is not text"),
        ("/binary-said-html", "a binary file"),
        ("/pdf-encrypted", "cannot be extracted: the PDF is encrypted"),
        ("/pdf-broken", "cannot be extracted: the PDF is broken"),
        ("/pdf-empty", "cannot be extracted: the PDF has no text"),
        ("/empty", "has no text"),
        ("/only-script", "has no text. It may need a browser"),
        ("/status/404", "answered with status 404"),
        ("/status/503", "answered with status 503"),
    ],
)
async def test_a_page_that_cannot_be_read_is_a_sentence_for_the_model(web: Web, path: str, says: str) -> None:
    with pytest.raises(ToolError, match=says):
        await web.text(path)


@pytest.mark.parametrize("path", ["/slow", "/silent"])
async def test_a_page_that_does_not_end_is_given_up(extraction: Extraction, path: str) -> None:
    async with OddSite() as site:
        with pytest.raises(ToolError, match=r"did not arrive within 0\.3 seconds"):
            await Web(site, engine(site, extraction, wait_seconds=0.3)).text(path)


BAD_ADDRESSES = {
    "file:///etc/passwd": "only addresses with http",
    "javascript:alert(1)": "only addresses with http",
    "data:text/html,x": "only addresses with http",
    "gopher://example.com/": "only addresses with http",
    "http://127.0.0.1/": "private network",
    "http://127.0.0.1:6379/": "private network",
    "127.0.0.1:8080/x": "private network",
    "http://0x7f.1/": "private network",
    "http://[::1]/": "private network",
    "http://[::ffff:10.0.0.1]/": "private network",
    "http://localhost:8080/": "private network",
    "http://metadata.google.internal/": "private network",
    "http://user@example.com/": "user name",
    "http://example.com:99999/": "not the address",
    "http://": "not the address",
    "http://exa mple.com/": "not the address",
    "http://example.com/\x00": "not the address",
    f"http://example.com/{'x' * 3000}": "not the address",
    "http://other.example/": "does not allow",
    "http://allowed.example.evil.example/": "does not allow",
    "http://allowed.example\\@evil.example/": "http://allowed.example",
}


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_that_must_not_be_requested_is_refused_before_any_request(address: str) -> None:
    options = WebSearchOptions(allowed_domains=("allowed.example", "example.com"))
    with pytest.raises(PageError, match=BAD_ADDRESSES[address]):
        checked_url(address, options, ())


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("allowed.example/a b", "https://allowed.example/a%20b"),
        ("allowed.example:8443/x", "https://allowed.example:8443/x"),
        ("HTTPS://Sub.Allowed.Example/x#y", "https://sub.allowed.example/x"),
        ("https://allowed.example./", "https://allowed.example./"),
    ],
)
def test_an_address_may_be_written_as_people_do(given: str, sent: str) -> None:
    assert checked_url(given, WebSearchOptions(allowed_domains=("allowed.example",)), ()) == sent


async def test_a_name_that_leads_to_this_machine_is_refused_when_it_is_connected_to(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a name does that resolves to a public address when it is checked, and to a private one afterwards."""

    async def resolves(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", web.site.port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolves)
    before = len(web.site.asked)
    with pytest.raises(ToolError, match="private network"):
        await web.call("open_page", url=f"http://rebinds.example:{web.site.port}/article")
    assert len(web.site.asked) == before


async def test_another_port_of_a_private_host_stays_closed(web: Web) -> None:
    async with OddSite() as other:
        with pytest.raises(ToolError, match="private network"):
            await web.call("open_page", url=other.at("/article"))
    assert other.asked == []


async def test_the_requests_filters_hold_for_pages_and_their_redirects(web: Web) -> None:
    with pytest.raises(ToolError, match="does not allow"):
        await web.call("open_page", {"filters": {"allowed_domains": ["example.com"]}}, url=web.site.at("/article"))


async def test_a_page_closed_by_robots_txt_is_left_unread_and_the_model_reads_why(extraction: Extraction) -> None:
    async with OddSite(robots=ROBOTS) as site:
        obeying = Web(site, engine(site, extraction))
        with pytest.raises(ToolError, match=r"robots\.txt of .* does not let OpenResponses read this page"):
            await obeying.text("/closed")
        assert site.asked == ["/robots.txt"]
        assert "survives" in await obeying.text("/article")
        assert site.asked == ["/robots.txt", "/article"], "the rules are kept"
        assert "survives" in await Web(site, engine(site, extraction, obey_robots=False)).text("/closed")
    async with OddSite(robots=503) as site:
        with pytest.raises(ToolError, match="cannot be read"):
            await Web(site, engine(site, extraction)).text("/article")


async def test_the_server_names_itself_to_sites(extraction: Extraction) -> None:
    async with OddSite() as site:
        await Web(site, engine(site, extraction, contact="https://example.com/bot")).text("/plain")
    assert all(
        "user-agent: mozilla/5.0 (compatible; openresponses; https://example.com/bot)" in head.lower()
        for head in site.heads
    )


async def test_a_page_cannot_speak_for_the_server(web: Web) -> None:
    text = await web.text("/injection")
    head, _, rest = text.partition("<web ")
    name = rest.partition(">")[0]
    inside, _, after = rest.partition(f"</web {name}>")
    assert "untrusted" in head
    assert "Ignore all previous instructions" in inside
    assert "【9:9】" not in text, "a mark of the page's would be cited"
    assert after == ""


async def test_a_long_page_comes_in_parts_without_a_gap(web: Web) -> None:
    url, low = web.site.at("/long"), {"search_context_size": "low"}
    first = str((await web.call("open_page", low, url=url)).output)
    number = int(first.partition("part 1 of ")[2].partition(".")[0])
    texts = [str((await web.call("open_page", low, url=url, part=part + 1)).output) for part in range(number)]
    whole = " ".join(texts)
    assert all(f"Paragraph {i} has" in whole for i in range(600))
    with pytest.raises(ToolError, match=f"has {number} parts"):
        await web.call("open_page", low, url=url, part=number + 1)


@pytest.mark.parametrize("part", [0, -1, "2", True, 1.5])
async def test_a_part_that_is_no_number_from_1_is_refused(web: Web, part: Any) -> None:
    with pytest.raises(ToolError, match="part must be a number"):
        await web.call("open_page", url=web.site.at("/article"), part=part)


async def test_a_text_is_found_in_a_page_over_its_line_breaks(web: Web) -> None:
    result = await web.call("find_in_page", url=web.site.at("/long"), pattern="PARAGRAPH 77 has")
    assert "Places with 'PARAGRAPH 77 has': 1." in str(result.output)
    assert "Paragraph 76 has" in str(result.output)
    many = await web.call("find_in_page", url=web.site.at("/long"), pattern="Paragraph")
    assert "Places with 'Paragraph': 600. These are the first 20." in str(many.output)
    none = await web.call("find_in_page", url=web.site.at("/long"), pattern="(a+)+$")
    assert "does not contain" in str(none.output)
    assert none.item["action"]["pattern"] == "(a+)+$"


async def test_pages_are_not_opened_where_the_operator_says_so(extraction: Extraction) -> None:
    async with OddSite() as site:
        with pytest.raises(ToolError, match="opens no pages"):
            await Web(site, engine(site, extraction, open_pages=False)).text("/article")
    assert site.asked == []


async def test_of_results_only_those_stay_that_the_request_allows(extraction: Extraction) -> None:
    results = (
        SearchResult("Good 【1:2】\n\n title", "https://docs.example.com/a", "text\n  of   it", "2026"),
        SearchResult("Again", "https://docs.example.com/a"),
        SearchResult("Elsewhere", "https://evil.example/a"),
        SearchResult("Blocked", "https://bad.example.com/a"),
        SearchResult("No page", "javascript:alert(1)"),
        SearchResult("", "https://example.com/b", "x" * 10_000),
    )
    settings = {"filters": {"allowed_domains": ["example.com"], "blocked_domains": ["bad.example.com"]}}
    async with OddSite() as site:
        result = await Web(site, engine(site, extraction, *results)).call("web_search", settings, query="words")
    urls = ["https://docs.example.com/a", "https://example.com/b"]
    assert [one["url"] for one in result.citations] == urls
    assert result.item["action"] == {
        "type": "search",
        "query": "words",
        "queries": ["words"],
        "sources": [{"type": "url", "url": url} for url in urls],
    }
    text = str(result.output)
    assert "【1:1】 Good [1:2] title (2026)\nhttps://docs.example.com/a\ntext of it" in text
    assert "【1:2】 https://example.com/b" in text
    assert len(text) < 3_000


async def test_a_search_that_finds_nothing_says_so(web: Web) -> None:
    result = await web.call("web_search", query="words")
    assert "found nothing" in str(result.output)
    assert not result.failed


@pytest.mark.parametrize("query", [None, "", "  ", 5, ["x"], "x" * 5_000])
async def test_a_query_that_is_no_text_is_refused(web: Web, query: Any) -> None:
    with pytest.raises(ToolError, match="query"):
        await web.call("web_search", query=query)


# --- the processes that make text of pages


PAGE = Fetched("https://example.com/", kind="html", body=b"<p>x</p>", charset=None)


def program(folder: Path, code: str) -> Path:
    path = folder / "program.py"
    path.write_text(f"import os, resource, signal, sys, time\n{code}\n")
    return path


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("time.sleep(60)", "too much time"),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "too much time"),
        ("sys.exit(3)", "too much memory"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "too much memory"),
        ("sys.exit(1)", "cannot be extracted"),
    ],
)
async def test_a_page_that_ends_its_process_is_a_sentence_for_the_model(tmp_path: Path, code: str, says: str) -> None:
    processes = PageExtraction(program(tmp_path, code), wall_seconds=0.3 if "sleep" in code else 25)
    with pytest.raises(PageError, match=says):
        await processes.text_of(PAGE, "acme")
    await processes.close()


async def test_one_tenants_pages_leave_a_process_for_another(tmp_path: Path) -> None:
    # The first process never answers.
    mark, real = tmp_path / "hog", extractor.__file__
    code = f"import pathlib, runpy\nmark = pathlib.Path({str(mark)!r})\n"
    code += (
        f"if not mark.exists():\n    mark.touch()\n    time.sleep(60)\nrunpy.run_path({real!r}, run_name='__main__')"
    )
    processes = PageExtraction(program(tmp_path, code))
    hogs = [asyncio.create_task(processes.text_of(PAGE, "hog")) for _ in range(3)]
    while not mark.exists():
        await asyncio.sleep(0.01)
    other = Fetched("https://example.com/", kind="text", body=b"plain", charset=None)
    assert (await processes.text_of(other, "acme")).text == "plain"
    for hog in hogs:
        hog.cancel()
    await asyncio.gather(*hogs, return_exceptions=True)
    assert (await processes.text_of(other, "hog")).text == "plain", "cancelled calls gave their places back"
    await processes.close()


async def test_a_page_made_to_cost_ends_within_its_limits(web: Web) -> None:
    """Two hundred thousand elements inside each other. Whether a text is left in the end is the parser's affair."""
    with contextlib.suppress(ToolError):
        await web.text("/nested")
    assert "Just a line of text." in await web.text("/plain")


async def test_the_rules_of_sites_take_no_more_memory_than_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    fetcher = PageFetcher(user_agent="x", wait_seconds=1, private_hosts=())

    async def get(url: str, *_: Any, **__: Any) -> tuple[str, Answer]:
        return url, Answer(200, None, "text/plain", b"User-agent: *\nDisallow: /x\n" + b"#" * 400_000)

    monkeypatch.setattr(fetcher, "get", get)
    robots = Robots(fetcher)
    for number in range(20):
        await robots.check(f"https://site-{number}.example/page")
    assert sum(one.size for one in robots._kept.values()) <= 4 * 1024 * 1024
    with pytest.raises(PageError):
        await robots.check("https://site-19.example/x")
