"""A real MCP server, the official SDK's own, behind a token.

`python -m tests.support.mcp_server PORT streamable|sse`
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.types import ToolAnnotations
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.mcp_token import TOKEN

server = MCPServer("tests")
counts: dict[str, int] = {}


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int, ctx: Context) -> str:  # type: ignore[type-arg]
    """Adds two numbers."""
    counts["add"] = counts.get("add", 0) + 1
    _note("mcp-meta", json.dumps(dict(ctx.request_context.meta or {})))
    return str(a + b)


@server.tool()
def count(name: str) -> str:
    """How often a tool was called."""
    return str(counts.get(name, 0))


@server.tool()
def breaks() -> str:
    """Fails."""
    raise ValueError("broken on purpose")


@server.tool()
def huge() -> str:
    """Returns more than anybody takes."""
    return "x" * 10_000_000


@server.tool()
async def sleeps(seconds: float, ctx: Context) -> str:  # type: ignore[type-arg]
    """Takes its time."""
    await asyncio.sleep(seconds)
    return "awake"


@server.tool()
def note(text: str) -> str:
    """Writes a line, each time that it is called."""
    _note("notes", text)
    return "noted"


def _note(name: str, line: str) -> None:
    with (Path(os.environ["HOSTED_TOOLS_DIR"]) / name).open("a") as file:
        file.write(line + "\n")


class Guarded:
    """Refuses requests without the token, and notes the `traceparent` of the others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if scope["type"] == "http" and headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
            await PlainTextResponse("who are you?", status_code=401)(scope, receive, send)
            return
        if scope["type"] == "http":
            _note("mcp-traces", headers.get(b"traceparent", b"").decode())
        await self._app(scope, receive, send)


def main(port: int, transport: str) -> None:
    app = server.sse_app() if transport == "sse" else server.streamable_http_app()
    uvicorn.run(Guarded(app), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
