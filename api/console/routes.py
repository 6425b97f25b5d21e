"""Serves the console: the page at `/`, its files, and the few facts that the page needs before it has a key.

The files hold nothing secret, so they need no key. Everything that the page shows it reads from the public API, with
the key that the person at the page enters.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Literal, TypedDict

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response

from api.app_state import AppState
from api.auth import check_is_near, is_loopback
from api.dependencies import AdminCaller, AuthenticatedCaller, State
from open_responses import __version__
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import NotFound, PermissionDenied

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
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # The browser asks each time and gets a 304: after an upgrade no page mixes old and new modules.
    "Cache-Control": "no-cache",
}
# Listed once: a request's path is looked up and never joined to a folder, so that no path leads out of it.
_FILES = {
    file.relative_to(_STATIC).as_posix(): file
    for file in sorted(_STATIC.rglob("*"))
    if file.is_file() and file.suffix in _TYPES
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
    """What the caller's key may use and see: the playground has a switch for each tool.

    `webhook_endpoints` is where the endpoints of the caller's key are: kept with a key that was made at run time, in
    the configuration file with the key, or nowhere, where the caller has no key.
    """

    tenant: str
    is_admin: bool
    tools: list[OfferedTool]
    mcp_servers: list[str]
    built_in_tools: list[str]
    webhook_endpoints: Literal["runtime", "file", "none"]


@router.get("/")
@router.head("/")
async def page(request: Request, state: State) -> Response:
    """The page. Without API keys it answers this machine only, as the API does."""
    _check_is_near_if_open(request, state)
    return _file(request, "index.html")


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
    """The tools and MCP servers that the caller's key may use, and where its webhook endpoints are."""
    config, key = state.settings.config, caller.key

    def may_use(name: str) -> bool:
        return key is None or key.allows_tool(name)

    offered: Offers = {
        "tenant": caller.tenant,
        "is_admin": caller.is_admin,
        "tools": [
            {"name": tool.name, "description": tool.description or "", "require_approval": tool.require_approval}
            for tool in config.tools
            if may_use(tool.name)
        ],
        "mcp_servers": [server.label for server in config.mcp_servers if may_use(server.label)],
        "built_in_tools": [name for name in config.built_in_tools if may_use(name)],
        "webhook_endpoints": _where_endpoints_are(state, key),
    }
    return JSONResponse(offered, headers={"Cache-Control": "no-store"})


@router.post("/console/kill-workers")
async def kill_workers(request: Request, state: State, caller: AdminCaller) -> JSONResponse:
    """Kill every worker of `make dev` with SIGKILL, to show that a stream survives it. Its supervisor restarts them.

    Only where `make dev` says where its workers' process ids are, and only for an operator on this machine.
    """
    folder = state.settings.dev_pid_dir
    if folder is None:
        raise NotFound("Only a server that `make dev` started can kill its workers.")
    if request.client is None or not is_loopback(request.client.host):
        raise PermissionDenied("Only a request from the server's own machine can kill its workers.")
    if caller.key is None:
        # Also where OPEN_RESPONSES_ALLOW_OPEN is set: a page could reach this machine by a name that was rebound.
        check_is_near(state.settings, request)
    killed = [pid for file in sorted(folder.glob("worker-*.pid")) if (pid := _kill(file)) is not None]
    return JSONResponse({"killed": killed}, headers={"Cache-Control": "no-store"})


@router.get("/console/{path:path}")
@router.head("/console/{path:path}")
async def static_file(request: Request, path: str) -> Response:
    """One of the page's files."""
    return _file(request, path)


def _where_endpoints_are(state: AppState, key: ApiKeyConfig | None) -> Literal["runtime", "file", "none"]:
    if key is None:
        return "none"
    found = state.keys.find(key.sha256)
    return "file" if found is None or found.stored is None else "runtime"


def _check_is_near_if_open(request: Request, state: State) -> None:
    if not state.settings.config.api_keys and not state.settings.allow_open:
        check_is_near(state.settings, request)


def _file(request: Request, path: str) -> Response:
    file = _FILES.get(path)
    if file is None:
        raise NotFound("The console has no such file.")
    answer = FileResponse(file, media_type=_TYPES[file.suffix], headers=_HEADERS, stat_result=file.stat())
    if request.headers.get("if-none-match") == answer.headers["etag"]:
        return Response(status_code=304, headers={**_HEADERS, "ETag": answer.headers["etag"]})
    return answer


def _kill(pid_file: Path) -> int | None:
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        return None
    return pid
