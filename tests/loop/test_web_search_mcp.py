"""A tool of an MCP server as the search service, with the official SDK's server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from mcp.server.mcpserver import MCPServer

from activities.tools.web_search.engine import backend_of
from activities.tools.web_search.results import SearchBackend, SearchError, SearchQuery
from dev import services
from open_responses.config import Config

server = MCPServer("search")


@server.tool()
def find(words: str, count: int, sites: list[str] | None = None) -> list[dict[str, Any]]:
    """Finds pages, as an API would list them."""
    found = [{"title": f"{words} {i}", "url": f"https://example.com/{i}", "description": "x"} for i in range(count)]
    return [*found, {"note": sites}]


@server.tool()
def tell(words: str) -> str:
    """Finds pages, as a person would list them."""
    return f"1. {words}: https://example.com/a\n2. More of it: https://example.org/b."


@server.tool()
def breaks(words: str) -> str:
    """Fails."""
    raise ValueError("the index is away")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def port() -> AsyncIterator[int]:
    port = services.free_port()
    running = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), port=port, log_level="error"))
    serving = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.01)
    yield port
    running.should_exit = True
    await serving


def backend(port: int, tool: str, **arguments: str) -> SearchBackend:
    table = {"backend": "mcp", "mcp_server": "s", "mcp_tool": tool, "mcp_arguments": {"words": "{query}", **arguments}}
    servers = [{"label": "s", "url": f"http://127.0.0.1:{port}/mcp"}]
    config = Config.model_validate({"web_search": table, "mcp_servers": servers})
    assert config.web_search is not None
    return backend_of(config, config.web_search, {})


async def test_results_in_json_are_results(port: int) -> None:
    answer = await backend(port, "find", count="{limit}", sites="{allowed_domains}").search(
        SearchQuery("lakes", limit=2, allowed_domains=("example.com",))
    )
    assert [(one.title, one.url) for one in answer.results] == [
        ("lakes 0", "https://example.com/0"),
        ("lakes 1", "https://example.com/1"),
    ]


async def test_results_in_prose_are_passed_on_with_their_addresses(port: int) -> None:
    answer = await backend(port, "tell").search(SearchQuery("lakes"))
    assert answer.prose is not None
    assert answer.prose.startswith("1. lakes:")
    assert [one.url for one in answer.results] == ["https://example.com/a", "https://example.org/b"]


async def test_prose_that_cannot_be_filtered_is_not_shown(port: int) -> None:
    with pytest.raises(SearchError, match="cannot be left out"):
        await backend(port, "tell").search(SearchQuery("lakes", blocked_domains=("example.org",)))


@pytest.mark.parametrize(("tool", "says"), [("breaks", "breaks"), ("no_such_tool", "no_such_tool")])
async def test_a_tool_that_fails_is_a_failed_search(port: int, tool: str, says: str) -> None:
    with pytest.raises(SearchError, match=says) as caught:
        await backend(port, tool).search(SearchQuery("lakes"))
    assert not caught.value.retryable


async def test_a_server_that_is_away_may_be_tried_again() -> None:
    with pytest.raises(SearchError, match="cannot be reached") as caught:
        await backend(services.free_port(), "find").search(SearchQuery("lakes"))
    assert caught.value.retryable


async def test_a_secret_that_is_not_set_is_named() -> None:
    table = {"backend": "mcp", "mcp_server": "s", "mcp_tool": "find"}
    servers = [{"label": "s", "url": "http://127.0.0.1:9/mcp", "headers_env": {"Authorization": "NO_SUCH_KEY"}}]
    config = Config.model_validate({"web_search": table, "mcp_servers": servers})
    assert config.web_search is not None
    with pytest.raises(SearchError, match="set NO_SUCH_KEY"):
        await backend_of(config, config.web_search, {}).search(SearchQuery("lakes"))
