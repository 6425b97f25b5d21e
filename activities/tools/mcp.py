"""Requests to MCP servers. The SDK is imported for the first of them.

The import takes as long as a third of a worker's start. Without this module, a worker that is started again after a
kill would begin to work that much later, also if no request names an MCP server.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable, Callable

from activities.tools.mcp_server import McpServer, McpToolList
from open_responses.contracts import ToolOutput
from open_responses.json_types import JsonObject

_CLIENT = "activities.tools.mcp_client"


async def list_tools(server: McpServer, *, timeout_seconds: float) -> McpToolList:
    """All pages, up to 1,000 tools. Tools that no model could call are left out. Raises McpError."""
    await _import_client()
    from activities.tools import mcp_client

    return await mcp_client.list_tools(server, timeout_seconds=timeout_seconds)


async def call_tool(
    server: McpServer,
    name: str,
    arguments: JsonObject,
    *,
    timeout_seconds: float,
    idempotency_key: str | None = None,
    on_progress: Callable[[str], None] | None = None,
    on_tools_changed: Callable[[], Awaitable[None]] | None = None,
) -> ToolOutput:
    """The tool's result, as text or as content parts. Raises McpError, `tool_error` for a failure of the tool's own.

    The call is made once at most. `on_tools_changed` is called if the server says meanwhile that its list has changed.
    """
    await _import_client()
    from activities.tools import mcp_client

    return await mcp_client.call_tool(
        server,
        name,
        arguments,
        timeout_seconds=timeout_seconds,
        idempotency_key=idempotency_key,
        on_progress=on_progress,
        on_tools_changed=on_tools_changed,
    )


async def _import_client() -> None:
    # In a thread, so that the streams of this worker go on meanwhile.
    await asyncio.to_thread(importlib.import_module, _CLIENT)
