"""Of a private address that the configuration names, requests reach the configured server, and not its neighbours."""

from __future__ import annotations

import pytest

from api.responses.validate import may_reach
from open_responses.config import Config

CONFIG = Config.model_validate({"mcp_servers": [{"label": "docs", "url": "http://10.0.0.5/mcp/docs/?key=1"}]})


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.5/mcp/docs",
        "http://10.0.0.5/mcp/docs/",
        "http://10.0.0.5:80/mcp/docs?x=/../",
        "http://10.0.0.5/mcp/docs/sub",
    ],
)
def test_the_server_and_what_is_below_it_may_be_reached(url: str) -> None:
    assert may_reach(CONFIG, url)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.5/",
        "http://10.0.0.5/mcp",
        "http://10.0.0.5/admin",
        "http://10.0.0.5/mcp/docs-too",
        "http://10.0.0.5/mcp/docs/../admin",
        "http://10.0.0.5/mcp/docs/%2e%2e/admin",
        "http://10.0.0.5/mcp/docs/%2E./admin",
        "http://10.0.0.5/mcp/docs/%252e%252e/admin",
        "http://10.0.0.5/mcp/docs/..%2fadmin",
        "http://10.0.0.5/mcp/docs/..%5cadmin",
        "http://10.0.0.5/mcp/docs\\..\\admin",
        "http://10.0.0.5//mcp/docs",
        "http://10.0.0.5/mcp//docs",
        "http://10.0.0.5/MCP/docs",
        "https://10.0.0.5/mcp/docs",
        "http://10.0.0.5:8080/mcp/docs",
        "http://user@10.0.0.5/mcp/docs",
        "http://10.0.0.6/mcp/docs",
    ],
)
def test_what_is_beside_it_may_not(url: str) -> None:
    assert not may_reach(CONFIG, url)


def test_a_public_address_may_be_reached_anywhere() -> None:
    assert may_reach(CONFIG, "https://mcp.example.com/any/../where")


def test_a_server_without_a_path_is_its_whole_origin() -> None:
    config = Config.model_validate({"mcp_servers": [{"label": "docs", "url": "http://10.0.0.5"}]})
    assert may_reach(config, "http://10.0.0.5/anything")
