"""The console's files and facts: what the page may load, who gets it, and who may kill the workers of `make dev`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from api.application import create_app
from api.console import routes
from open_responses.io.settings import Settings
from tests.support.api_with_keys import bearer, key_block
from tests.support.responses_http import is_error

STATIC = Path(routes.__file__).parent / "static"
FILES = sorted(file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*") if file.suffix in {".js", ".css"})
ABSENT = [
    "nothing.js",
    "",
    "vendor",
    "vendor/",
    "vendor/preact.LICENSE",
    "../routes.py",
    "..%2froutes.py",
    "%2e%2e/%2e%2e/main.py",
    "..%5croutes.py",
    "%2fetc%2fpasswd",
    "main.js%00.html",
    "a" * 5000,
]


@asynccontextmanager
async def console(
    config_path: Path,
    config: str = "",
    peer: str = "127.0.0.1",
    host: str = "127.0.0.1:8080",
    pids: Path | None = None,
    allow_open: bool = False,
) -> AsyncIterator[httpx.AsyncClient]:
    """A client at `peer` of an API whose Redis and Temporal are away: nothing here asks for them."""
    config_path.write_text(config)
    settings = Settings(
        OPEN_RESPONSES_CONFIG=str(config_path),
        REDIS_URL="redis://127.0.0.1:9/0",
        data_dir=str(config_path.parent),
        dev_pid_dir=pids,
        allow_open=allow_open,
    )
    app = create_app(settings)
    transport = httpx.ASGITransport(app, client=(peer, 40000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url=f"http://{host}", transport=transport) as client,
    ):
        yield client


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "open_responses.toml"


# --- the files


async def test_every_file_comes_with_headers_that_keep_foreign_code_out(config: Path) -> None:
    async with console(config) as client:
        for path in ("/", *(f"/console/{name}" for name in FILES)):
            answer = await client.get(path)
            assert answer.status_code == 200, path
            policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'", path
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'", path
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'", path
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            kind = {".js": "text/javascript", ".css": "text/css"}.get(Path(path).suffix, "text/html")
            assert answer.headers["content-type"] == f"{kind}; charset=utf-8"


def test_the_page_has_no_inline_code_and_asks_no_other_server() -> None:
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="/console/main.js">']
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    for name in ("index.html", *FILES):
        if not name.startswith("vendor/"):
            source = (STATIC / name).read_text()
            assert not re.search(
                r"""(?:src|(?<!<a )href|from|import|url\()\s*[=(]?\s*["'`]?(?:https?:)?//""", source
            ), name
            assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source), name


def test_every_module_that_a_module_imports_is_served() -> None:
    for name in FILES:
        # The code that snippets.js writes for its reader imports "openai": no path.
        for imported in re.findall(r'from\s*"([./][^"]+)"', (STATIC / name).read_text()):
            path = imported.removeprefix("/console/") if imported.startswith("/") else f"vendor/{imported[2:]}"
            assert path in FILES, f"{name} imports {imported}"


async def test_a_path_that_names_no_file_of_the_page_is_a_404(config: Path) -> None:
    async with console(config) as client:
        for path in ABSENT:
            is_error(await client.get(f"/console/{path}"), 404, "not_found")


async def test_head_has_the_headers_of_get_without_a_body(config: Path) -> None:
    async with console(config) as client:
        for path in ("/", "/console/main.js"):
            got, head = await client.get(path), await client.head(path)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["etag"] == got.headers["etag"]
            assert head.headers["content-length"] == str(len(got.content))
            assert head.headers["content-security-policy"] == got.headers["content-security-policy"]


async def test_a_file_that_the_browser_has_is_not_sent_again(config: Path) -> None:
    async with console(config) as client:
        first = await client.get("/console/main.js")
        assert first.headers["cache-control"] == "no-cache"
        again = await client.get("/console/main.js", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        other = await client.get("/console/main.js", headers={"If-None-Match": '"another"'})
        assert (other.status_code, other.content) == (200, first.content)


# --- who gets the page


@pytest.mark.parametrize(
    "where",
    [{"peer": "10.1.2.3"}, {"host": "console.example"}, {"host": "127.0.0.1.example:8080"}],
    ids=["another machine", "another name", "a name that begins like ours"],
)
async def test_without_keys_the_page_answers_its_own_machine_only(config: Path, where: dict[str, str]) -> None:
    async with console(config, **where) as client:
        for path in ("/", "/console/info", "/console/offers"):
            is_error(await client.get(path), 403, "no_api_keys")


async def test_with_keys_the_page_may_be_loaded_from_anywhere_and_asks_for_one(config: Path) -> None:
    async with console(config, key_block("acme", "a-key"), peer="10.1.2.3", host="console.example") as client:
        assert (await client.get("/")).status_code == 200
        assert (await client.get("/console/info")).json()["needs_key"] is True
        is_error(await client.get("/console/offers"), 401, "invalid_api_key")
        offered = await client.get("/console/offers", headers=bearer("a-key"))
        assert offered.json() == {
            "tenant": "acme",
            "is_admin": False,
            "tools": [],
            "mcp_servers": [],
            "built_in_tools": [],
            "webhook_endpoints": "file",
        }


async def test_without_keys_the_page_asks_for_none(config: Path) -> None:
    async with console(config) as client:
        info = await client.get("/console/info")
        assert info.headers["cache-control"] == "no-store"
        assert (info.json()["needs_key"], info.json()["can_kill_workers"]) == (False, False)


async def test_a_key_is_offered_the_tools_that_it_may_use(config: Path) -> None:
    tools = """
[[tools]]
name = "get_weather"
target = "tests.support.hosted_tools:get_weather"
[[tools]]
name = "delete_all"
target = "tests.support.hosted_tools:delete_all"
require_approval = true
[[mcp_servers]]
label = "calc"
url = "http://127.0.0.1:9/mcp"
[file_search]
[code_interpreter]
"""
    keys = [key_block("all", "all"), key_block("one", "one", 'tools = ["delete_all", "file_search"]')]
    async with console(config, tools + "\n".join(keys)) as client:
        one = (await client.get("/console/offers", headers=bearer("one"))).json()
        assert [(tool["name"], tool["require_approval"]) for tool in one["tools"]] == [("delete_all", True)]
        assert (one["mcp_servers"], one["built_in_tools"]) == ([], ["file_search"])
        every = (await client.get("/console/offers", headers=bearer("all"))).json()
        assert [tool["name"] for tool in every["tools"]] == ["get_weather", "delete_all"]
        assert (every["mcp_servers"], every["built_in_tools"]) == (["calc"], ["code_interpreter", "file_search"])


# --- kill the worker


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose id is where `make dev` writes a worker's."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    folder = tmp_path / "pids"
    folder.mkdir()
    (folder / "worker-0.pid").write_text(str(process.pid))
    (folder / "worker-1.pid").write_text("not a number")
    (folder / "api.pid").write_text("1")
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize("keys", ["", key_block("ops", "a-key", 'scopes = ["admin"]')], ids=["no keys", "an operator"])
async def test_the_button_kills_the_workers_of_make_dev(
    config: Path, sleeper: subprocess.Popen[bytes], keys: str
) -> None:
    async with console(config, keys, pids=config.parent / "pids") as client:
        assert (await client.get("/console/info")).json()["can_kill_workers"] is True
        answer = await client.post("/console/kill-workers", headers=bearer("a-key") if keys else {})
        assert answer.json() == {"killed": [sleeper.pid]}
        assert sleeper.wait(20) == -9


@pytest.mark.parametrize(
    ("keys", "peer", "headers"),
    [
        ("", "10.1.2.3", {}),
        ("", "127.0.0.1", {"Origin": "https://elsewhere.example"}),
        (key_block("acme", "a-key"), "127.0.0.1", bearer("a-key")),
        (key_block("ops", "a-key", 'scopes = ["admin"]'), "10.1.2.3", bearer("a-key")),
    ],
    ids=["another machine", "another page", "a tenant's key", "an operator's key from another machine"],
)
async def test_nobody_else_kills_a_worker(
    config: Path, sleeper: subprocess.Popen[bytes], keys: str, peer: str, headers: dict[str, str]
) -> None:
    async with console(config, keys, peer=peer, pids=config.parent / "pids") as client:
        refused = await client.post("/console/kill-workers", headers=headers)
        assert refused.status_code == 403, refused.text
        assert sleeper.poll() is None


async def test_a_page_kills_no_worker_by_a_name_that_it_pointed_to_this_machine(
    config: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    rebound = "rebound.example:8080"
    async with console(config, host=rebound, pids=config.parent / "pids", allow_open=True) as client:
        refused = await client.post("/console/kill-workers", headers={"Origin": f"http://{rebound}"})
        assert refused.status_code == 403, refused.text
        assert sleeper.poll() is None


async def test_a_server_that_make_dev_did_not_start_kills_nothing(config: Path) -> None:
    async with console(config) as client:
        is_error(await client.post("/console/kill-workers"), 404, "not_found")
