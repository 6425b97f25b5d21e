"""Requests that offer the suite's MCP server."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import script
from tests.support.stack import collect

GUARDED = {"type": "mcp", "server_label": "calc"}


async def ask(client: httpx.AsyncClient, upstream: Upstream, prompt: str, tool: dict[str, Any], call: Any) -> Any:
    script(upstream, prompt, calls(call), Script(words=2))
    return (await collect(client, {"input": prompt, "tools": [tool]}))[-1]["response"]
