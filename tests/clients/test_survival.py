"""Clients as they ship: each runs its own tool, and reads the whole answer although the worker is killed within it."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from api.openai_forms import PREFIX
from tests.support.agents import AGENTS, NEEDS, Agent, Seen
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.mcp_token import TOKEN
from tests.support.npm_packages import installed
from tests.support.scripts import script
from tests.support.stack import Stack
from tests.support.vendor_scripts import Spoken

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

SOURCE = Path(__file__).parent / "node"
NODE_AGENTS = ["openai", "openaiAgents", "openaiAgentsWebSocket", "aiSdk", "aiSdkOpenAI", "langchain"]

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="needs Node.js 20 or newer and npm on the PATH"
)


@pytest_asyncio.fixture(scope="module")
async def node_folder() -> Path:
    return await asyncio.to_thread(installed, SOURCE, "agents.js")


async def in_node(folder: Path, base_url: str, client: str, model: str, prompt: str, *more: str) -> dict[str, Any]:
    # Node 20 has a WebSocket behind this option, later ones have it in any case.
    command = ("node", "--experimental-websocket", "agents.js", base_url, client, model, prompt, *more)
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=-1, stderr=-1)
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, err.decode()
    seen: dict[str, Any] = json.loads(out)
    return seen


async def survives(stack: Stack, upstream: Upstream, agent: Agent, prompt: str) -> None:
    answer = Script(words=12, hold_after=4)
    script(upstream, prompt, calls(("c1", "population", {"city": "Oslo"})), answer)
    running = asyncio.ensure_future(agent(f"{stack.api_url}{PREFIX}/v1", prompt))
    held = asyncio.create_task(answer.held.wait())
    await asyncio.wait({running, held}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        held.cancel()
        raise AssertionError(f"the client ended before its answer was held: {await running}")
    assert held.done(), "the client has not sent the tool's result"
    await stack.kill_seen(await stack.busy_worker())
    answer.released.set()
    seen = await asyncio.wait_for(running, 60)
    assert seen == Seen(["Oslo"], answer.text, answer.text)
    assert answer.attempts >= 2, "the worker was killed in the middle of the answer"


@pytest.mark.parametrize("client", AGENTS)
async def test_a_client_in_python_reads_on_after_its_worker_is_killed(
    stack: Stack, upstream: Upstream, client: str
) -> None:
    if client in NEEDS:
        pytest.importorskip(NEEDS[client], reason="it is in the dev extra")
    await survives(stack, upstream, AGENTS[client], f"{client} survives")


@needs_node
@pytest.mark.parametrize("client", NODE_AGENTS)
async def test_a_client_in_node_reads_on_after_its_worker_is_killed(
    stack: Stack, upstream: Upstream, node_folder: Path, client: str
) -> None:
    async def agent(base_url: str, prompt: str) -> Seen:
        seen = await in_node(node_folder, base_url, client, "fake", prompt)
        return Seen(seen["asked"], seen["deltas"], seen["text"])

    await survives(stack, upstream, agent, f"{client} in Node survives")


@needs_node
@pytest.mark.parametrize(("client", "model"), [("aiSdk", "ollama-fake"), ("aiSdkOpenAI", "openai-fake")])
async def test_reasoning_reaches_the_ai_sdk(
    session_stack: Stack, vendors: Vendors, node_folder: Path, client: str, model: str
) -> None:
    """Raw reasoning, and summaries of it: OpenAI's own provider for the AI SDK reads no raw reasoning."""
    await session_stack.heal()
    thinking = vendors.says(f"{client} shows reasoning", Spoken(words=3, thoughts=4))
    base_url = f"{session_stack.api_url}{PREFIX}/v1"
    seen = await in_node(node_folder, base_url, client, model, f"{client} shows reasoning")
    assert (seen["reasoning"], seen["text"]) == (thinking.thought, thinking.text)


@needs_node
async def test_the_ai_sdk_reads_what_an_mcp_server_returned(
    session_stack: Stack, upstream: Upstream, node_folder: Path
) -> None:
    await session_stack.heal()
    script(upstream, "add for the ai sdk", calls(("c1", "add", {"a": 2, "b": 3})), Script(literal="Five."))
    base_url, server = f"{session_stack.api_url}{PREFIX}/v1", (session_stack.mcp_url, TOKEN)
    seen = await in_node(node_folder, base_url, "aiSdkMcp", "fake", "add for the ai sdk", *server)
    assert seen["text"] == "Five."
    assert "5" in str(seen["asked"])
