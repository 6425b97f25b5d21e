"""Codex as it ships, with this server's address in its configuration.

It runs a command and applies a patch, and its answer arrives whole although every worker is killed in the middle of it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from api.openai_forms import PREFIX
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.npm_packages import installed
from tests.support.stack import Stack, another_api
from tests.support.vendor_scripts import Spoken, call

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(
        shutil.which("node") is None or shutil.which("npm") is None,
        reason="needs Node.js 20 or newer and npm on the PATH",
    ),
]

SOURCE = Path(__file__).parent / "codex"
# Codex knows this model, and offers it a patch as a custom tool with a grammar, and a search for more tools.
MODEL = "gpt-5.5"
# With this one Codex sends its tools in an `additional_tools` item, and a tool whose text is a program.
CODE = "gpt-5.6-sol"
PATCH = """*** Begin Patch
*** Add File: patched.txt
+by a patch
*** End Patch
"""
COMMAND = {"cmd": "printf 'by a command' > commanded.txt"}
PROVIDERS = {"openai-chat": "fake", "anthropic": "anthropic-fake", "gemini": "gemini-fake"}
CONFIGURATION = """
model = "{model}"
model_provider = "here"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.here]
name = "open_responses"
base_url = "{base_url}"
wire_api = "responses"
supports_websockets = {websocket}
"""


@pytest_asyncio.fixture(scope="module")
async def codex_folder() -> Path:
    return await asyncio.to_thread(installed, SOURCE)


@pytest_asyncio.fixture(params=PROVIDERS)
async def adapter(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest_asyncio.fixture
async def api(stack: Stack, adapter: str) -> AsyncIterator[httpx.AsyncClient]:
    """An API that routes Codex's models to this adapter's fake vendor."""
    routes = [f'[[routes]]\nmodel = "{model}"\nprovider = "{PROVIDERS[adapter]}"\n' for model in (MODEL, CODE)]
    async with another_api(stack, tail="".join(routes)) as client:
        yield client


def scripted(upstream: Upstream, vendors: Vendors, adapter: str, prompt: str) -> Script:
    """A command, a patch, and an answer that is held in its middle."""
    if adapter == "openai-chat":
        answer = Script(words=12, hold_after=4)
        first = calls(("c1", "exec_command", COMMAND))
        first.turns = [calls(("c2", "apply_patch", {"input": PATCH})), answer]
        upstream.says(prompt, first)
        return answer
    spoken = Spoken(words=12, hold_after=4)
    patch = Spoken(words=0, tool_calls=[call("apply_patch", input=PATCH)])
    vendors.says(prompt, Spoken(words=0, tool_calls=[call("exec_command", **COMMAND)]), patch, spoken)
    return spoken


async def codex(
    folder: Path, place: Path, server: str, model: str, prompt: str, *, websocket: bool
) -> asyncio.subprocess.Process:
    """`codex exec` with a home and a folder to work in of its own, in `place`."""
    home, work = place / "home", place / "work"
    home.mkdir()
    work.mkdir()
    settings = {"model": model, "base_url": f"{server}{PREFIX}/v1", "websocket": str(websocket).lower()}
    (home / "config.toml").write_text(CONFIGURATION.format(**settings))
    command = ["node", str(folder / "node_modules/@openai/codex/bin/codex.js"), "exec", "--json"]
    # The machine that runs the tests is the sandbox.
    command += ["--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-C", str(work), prompt]
    env = {**os.environ, "CODEX_HOME": str(home), "HOME": str(home)}
    return await asyncio.create_subprocess_exec(
        *command, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=-1, start_new_session=True
    )


async def end(process: asyncio.subprocess.Process) -> None:
    """Node starts another process, which would hold the pipes open."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def said_by_codex(out: bytes) -> list[str]:
    told = [json.loads(line) for line in out.decode().splitlines()]
    return [one["item"]["text"] for one in told if one.get("item", {}).get("type") == "agent_message"]


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_codex_finishes_its_task_over_killed_workers(
    stack: Stack,
    api: httpx.AsyncClient,
    upstream: Upstream,
    vendors: Vendors,
    codex_folder: Path,
    tmp_path: Path,
    adapter: str,
    transport: str,
) -> None:
    prompt = f"Make two files, by {adapter} over {transport}."
    answer = scripted(upstream, vendors, adapter, prompt)
    process = await codex(codex_folder, tmp_path, str(api.base_url), MODEL, prompt, websocket=transport == "websocket")
    await finishes(stack, process, answer)
    work = tmp_path / "work"
    assert (work / "commanded.txt").read_text() == "by a command"
    assert (work / "patched.txt").read_text() == "by a patch\n"


async def finishes(stack: Stack, process: asyncio.subprocess.Process, answer: Script) -> None:
    """Every worker is killed in the middle of the last answer, and Codex has all of it."""
    running = asyncio.create_task(process.communicate())
    try:
        held = asyncio.create_task(answer.held.wait())
        await asyncio.wait({running, held}, timeout=120, return_when=asyncio.FIRST_COMPLETED)
        held.cancel()
        assert not running.done(), f"Codex ended before its last answer: {await running}"
        assert answer.held.is_set(), "Codex has not asked for its last answer"
        for name in ("worker-0", "worker-1"):
            await stack.kill_seen(name)
        answer.released.set()
        await stack.heal()
        out, err = await asyncio.wait_for(running, 120)
    finally:
        await end(process)
    assert process.returncode == 0, (out.decode(), err.decode())
    assert said_by_codex(out)[-1].strip() == answer.text.strip()
    assert b"Reconnecting" not in out, "neither the kill nor the WebSocket broke its connection"
    assert b"Falling back" not in out, "Codex goes from a WebSocket to HTTP where it has to"
    assert answer.attempts >= 2, "the workers were killed in the middle of the answer"


@pytest.mark.parametrize("adapter", ["openai-chat"], indirect=True)
async def test_codex_runs_its_code_over_killed_workers(
    stack: Stack, api: httpx.AsyncClient, upstream: Upstream, codex_folder: Path, tmp_path: Path
) -> None:
    """With this model its tools come in an item of the input, and its commands are code in a custom tool."""
    answer = Script(words=12, hold_after=4)
    first = calls(("c1", "functions__exec", {"input": f"text(await tools.exec_command({json.dumps(COMMAND)}));"}))
    first.turns = [answer]
    upstream.says("Make a file by code.", first)
    process = await codex(codex_folder, tmp_path, str(api.base_url), CODE, "Make a file by code.", websocket=True)
    await finishes(stack, process, answer)
    assert (tmp_path / "work" / "commanded.txt").read_text() == "by a command"


async def test_codex_offers_a_namespace_with_a_model_that_it_does_not_know(
    stack: Stack, upstream: Upstream, codex_folder: Path, tmp_path: Path
) -> None:
    answer = Script(words=3)
    first = calls(("c1", "exec_command", COMMAND))
    first.turns = [answer]
    upstream.says("Make one file.", first)
    process = await codex(codex_folder, tmp_path, stack.api_url, "fake", "Make one file.", websocket=False)
    try:
        out, err = await asyncio.wait_for(process.communicate(), 120)
    finally:
        await end(process)
    assert process.returncode == 0, (out.decode(), err.decode())
    assert (tmp_path / "work" / "commanded.txt").read_text() == "by a command"
    assert said_by_codex(out)[-1].strip() == answer.text.strip()
    offered = [tool["function"]["name"] for tool in upstream.requests[-1]["tools"]]
    assert {"exec_command", "multi_agent_v1__spawn_agent"} <= set(offered)
