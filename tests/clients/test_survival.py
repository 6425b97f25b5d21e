"""Clients as they ship: each runs its own tool, and reads the whole answer although the worker is killed within it."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import pytest_asyncio

from api.openai_forms import PREFIX
from tests.support.agents import AGENTS, NEEDS, Agent, Seen
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.npm_packages import installed
from tests.support.scripts import script
from tests.support.stack import Stack

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

SOURCE = Path(__file__).parent / "node"
NODE_AGENTS = ["openai", "openaiAgents", "openaiAgentsWebSocket", "aiSdk", "aiSdkOpenAI"]

needs_node = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="needs Node.js 20 or newer and npm on the PATH"
)


@pytest_asyncio.fixture(scope="module")
async def node_folder() -> Path:
    return await asyncio.to_thread(installed, SOURCE, "agents.js")


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
    assert answer.attempts == 2, "the worker was killed in the middle of the answer"


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
        command = ("node", "--experimental-websocket", "agents.js", base_url, client, "fake", prompt)
        process = await asyncio.create_subprocess_exec(*command, cwd=node_folder, stdout=-1, stderr=-1)
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        seen = json.loads(out)
        return Seen(seen["asked"], seen["deltas"], seen["text"])

    await survives(stack, upstream, agent, f"{client} in Node survives")
