"""`web_search` with a search service and pages over real sockets, from the `openai` SDK, over a killed worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.odd_site import OddSite
from tests.support.own_stack import client, stack
from tests.support.scripts import script
from tests.support.small_stack import small_stack
from tests.support.stack import Stack
from tests.support.vendor_scripts import Spoken, call

__all__ = ["client", "stack"]
pytestmark = pytest.mark.campaign

_SEARCH = """
[[providers]]
name = "claude"
adapter = "anthropic"
base_url = "http://127.0.0.1:{vendors}/anthropic"
[[routes]]
model = "claude"
provider = "claude"
upstream_model = "claude-sonnet-4-6"
[web_search]
backend = "searxng"
url = "http://{site}"
private_hosts = ["{site}"]
retry_seconds = 40
wait_seconds = 5
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site() -> AsyncIterator[OddSite]:
    async with OddSite() as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_stack(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, vendors: Vendors, site: OddSite
) -> AsyncIterator[Stack]:
    tail = _SEARCH.format(vendors=vendors.port, site=site.host)
    async with small_stack(tmp_path_factory.mktemp("web-search"), upstream, tail=tail) as stack:
        yield stack


@pytest_asyncio.fixture
async def sdk(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


def searches(site: OddSite) -> tuple[Script, Script, Script, Script]:
    """What a model does: it searches, opens the page that was found, looks for a text in it, and cites it."""
    url = site.at("/article")
    return (
        calls(("call_1", "web_search", {"query": "durable workflows"})),
        calls(("call_2", "open_page", {"url": url})),
        calls(("call_3", "find_in_page", {"url": url, "pattern": "history"})),
        Script(literal="They survive 【1:1】, by a history 【2:1】."),
    )


def cited(response: Any) -> list[tuple[str, str]]:
    (part,) = response.output[-1].content
    return [(part.text[note.start_index : note.end_index], note.url) for note in part.annotations]


async def test_the_sdk_gets_searches_pages_and_citations(sdk: AsyncOpenAI, upstream: Upstream, site: OddSite) -> None:
    script(upstream, "sdk search", *searches(site))
    response = await sdk.responses.create(
        model="fake",
        input="sdk search",
        tools=[{"type": "web_search", "user_location": {"type": "approximate", "city": "Berlin", "country": "DE"}}],
        include=["web_search_call.action.sources"],
    )
    url = site.at("/article")
    search, opened, found, _ = response.output
    assert (search.type, search.status, search.action.type) == ("web_search_call", "completed", "search")
    assert [source.url for source in search.action.sources] == [url]
    assert (opened.action.type, opened.action.url) == ("open_page", url)
    assert (found.action.type, found.action.pattern) == ("find_in_page", "history")
    link = f"([127.0.0.1]({url}))"
    assert cited(response) == [(link, url), (link, url)]
    told = [message["content"] for message in upstream.requests[-1]["messages"] if message["role"] == "tool"]
    assert "survives the death of its worker" in told[1]
    assert "Places with 'history': 1." in told[2]
    described = upstream.requests[-1]["tools"][0]["function"]["description"]
    assert "near Berlin, DE" in described


async def test_a_model_on_anthropics_wire_searches(sdk: AsyncOpenAI, vendors: Vendors, site: OddSite) -> None:
    asked = Spoken(words=0, tool_calls=[call("web_search", query="durable")])
    vendors.says("claude search", asked, Spoken(literal="They survive 【1:1】."))
    response = await sdk.responses.create(model="claude", input="claude search", tools=[{"type": "web_search"}])
    assert response.status == "completed", response.incomplete_details
    assert [url for _, url in cited(response)] == [site.at("/article")]


async def test_a_setting_that_cannot_act_is_a_400_with_its_path(sdk: AsyncOpenAI) -> None:
    tool: Any = {"type": "web_search", "filters": {"allowed_domains": ["example.com/path"]}}
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="fake", input="x", tools=[tool])
    assert caught.value.param == "tools[0].filters.allowed_domains[0]"


async def test_a_page_that_cannot_be_read_fails_its_call_and_no_response(
    sdk: AsyncOpenAI, upstream: Upstream, site: OddSite
) -> None:
    redirect = calls(("call_1", "open_page", {"url": site.at("/to-metadata")}))
    script(upstream, "metadata", redirect, Script(literal="It is closed."))
    response = await sdk.responses.create(model="fake", input="metadata", tools=[{"type": "web_search"}])
    assert response.status == "completed"
    assert (response.output[0].type, response.output[0].status) == ("web_search_call", "failed")
    *_, told = upstream.requests[-1]["messages"]
    assert "on a private network" in told["content"]


async def test_a_search_service_says_when_to_come_again(sdk: AsyncOpenAI, upstream: Upstream, site: OddSite) -> None:
    site.slow_down(2)
    script(upstream, "slow down", *searches(site))
    # The configured pause is longer.
    async with asyncio.timeout(35):
        response = await sdk.responses.create(model="fake", input="slow down", tools=[{"type": "web_search"}])
    assert [item.status for item in response.output] == ["completed"] * 4


async def test_a_search_whose_worker_is_killed_is_made_again_and_shown_once(
    stack: Stack, client: httpx.AsyncClient, sdk: AsyncOpenAI, upstream: Upstream, site: OddSite
) -> None:
    before = len(site.searches)
    site.hold(1)
    script(upstream, "killed search", *searches(site))
    stream = await sdk.responses.create(
        model="fake", input="killed search", tools=[{"type": "web_search"}], stream=True
    )
    events: list[Any] = []

    async def read() -> None:
        async for event in stream:
            events.append(event.to_dict())

    reading = asyncio.create_task(read())
    async with asyncio.timeout(60):
        await site.searching.wait()
    await asyncio.gather(stack.kill("worker-0"), stack.kill("worker-1"))
    await asyncio.gather(stack.start("worker-0"), stack.start("worker-1"))
    async with asyncio.timeout(120):
        await reading
    assert [event["sequence_number"] for event in events] == [*range(len(events))]
    response = events[-1]["response"]
    assert response["status"] == "completed"
    kinds = [item["type"] for item in response["output"]]
    assert kinds == ["web_search_call", "web_search_call", "web_search_call", "message"]
    assert all(item["status"] == "completed" for item in response["output"])
    assert len(site.searches) - before >= 2, "the service was asked again"
