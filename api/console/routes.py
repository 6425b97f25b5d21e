"""Serves the console: the page at `/`, its files, and the few facts that the page needs before it has a key.

The files hold nothing secret, so they need no key. Everything that the page shows it reads from the public API, with
the key that the person at the page enters.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TypedDict

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse

from api.auth import check_is_near
from api.dependencies import AuthenticatedCaller, State
from open_responses import __version__
from open_responses.errors import NotFound

router = APIRouter(include_in_schema=False)

_STATIC = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    # Nothing from elsewhere, nothing inline: a text of a model or a tool that looks like a script stays text.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The browser asks each time and gets a 304: after an upgrade no page mixes old and new modules.
    "Cache-Control": "no-cache",
}


class ConsoleInfo(TypedDict):
    """What the page has to know before it can ask for anything else."""

    version: str
    needs_key: bool
    can_kill_workers: bool


class OfferedTool(TypedDict):
    """A hosted tool that a request may name."""

    name: str
    description: str
    require_approval: bool


class Offers(TypedDict):
    """The tools that the playground offers as switches."""

    tools: list[OfferedTool]
    mcp_servers: list[str]


@router.get("/")
@router.head("/")
async def page(request: Request, state: State) -> FileResponse:
    """The page. Without API keys it answers this machine only, as the API does."""
    _check_is_near_if_open(request, state)
    return _file("index.html")


@router.get("/console/info")
async def info(request: Request, state: State) -> JSONResponse:
    """The server's version, and whether the page has to ask for a key."""
    _check_is_near_if_open(request, state)
    facts: ConsoleInfo = {
        "version": __version__,
        "needs_key": bool(state.settings.config.api_keys),
        "can_kill_workers": state.settings.dev_pid_dir is not None,
    }
    return JSONResponse(facts, headers={"Cache-Control": "no-store"})


@router.get("/console/offers")
async def offers(state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """The hosted tools and MCP servers that the caller's key may use."""
    config, key = state.settings.config, caller.key

    def may_use(name: str) -> bool:
        return key is None or key.allows_tool(name)

    offered: Offers = {
        "tools": [
            {"name": tool.name, "description": tool.description or "", "require_approval": tool.require_approval}
            for tool in config.tools
            if may_use(tool.name)
        ],
        "mcp_servers": [server.label for server in config.mcp_servers if may_use(server.label)],
    }
    return JSONResponse(offered, headers={"Cache-Control": "no-store"})


@router.post("/console/kill-workers")
async def kill_workers(request: Request, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """Kill every worker of `make dev` with SIGKILL, to show that a stream survives it. Its supervisor restarts them.

    Only where `make dev` says where its workers' process ids are, and only for callers on this machine.
    """
    folder = state.settings.dev_pid_dir
    if folder is None:
        raise NotFound("Only a server that `make dev` started can kill its workers.")
    check_is_near(state.settings, request)
    killed = [pid for file in sorted(folder.glob("worker-*.pid")) if (pid := _kill(file)) is not None]
    return JSONResponse({"killed": killed}, headers={"Cache-Control": "no-store"})


@router.get("/console/{path:path}")
@router.head("/console/{path:path}")
async def static_file(path: str) -> FileResponse:
    """One of the page's files."""
    return _file(path)


def _check_is_near_if_open(request: Request, state: State) -> None:
    if not state.settings.config.api_keys and not state.settings.allow_open:
        check_is_near(state.settings, request)


def _file(path: str) -> FileResponse:
    file = (_STATIC / path).resolve()
    if not file.is_relative_to(_STATIC) or file.suffix not in _TYPES or not file.is_file():
        raise NotFound("The console has no such file.")
    return FileResponse(file, media_type=_TYPES[file.suffix], headers=_HEADERS)


def _kill(pid_file: Path) -> int | None:
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return None
    return pid
