"""A deploy with changed workflow code, under load: with Worker Versioning, what runs stays with its version."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError

from dev import services
from open_responses.io.temporal.codec import DATA_CONVERTER
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import Event, Stack, check_whole, collect, events_of, until

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

ROOT = Path(__file__).parent.parent.parent
DEPLOYMENT = "responses"
OLD, NEW = "old", "new"
TOOLS = [{"type": "function", "name": "get_weather"}]
# A timer before each turn: no history without it replays.
_BEFORE = "            self._state.turn += 1\n"
_AFTER = _BEFORE + "            await workflow.sleep(timedelta(milliseconds=1))\n"
_REPLAY = """
import asyncio, sys
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner
from open_responses.io.temporal.codec import DATA_CONVERTER
from workflows.response import ResponseWorkflow
replayer = Replayer(workflows=[ResponseWorkflow], data_converter=DATA_CONVERTER,
                    workflow_runner=UnsandboxedWorkflowRunner())
asyncio.run(replayer.replay_workflow(WorkflowHistory.from_json("a-response", sys.stdin.read())))
"""


@pytest_asyncio.fixture
async def stack(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Stack]:
    """Two workers of the old version."""
    async with small_stack(tmp_path, upstream, DEPLOYMENT_NAME=DEPLOYMENT, BUILD_ID=OLD) as stack:
        yield stack


@pytest.fixture
def changed_code(tmp_path: Path) -> Path:
    """A copy of the tree whose workflow takes a step more."""
    copy = tmp_path / "changed"
    for name in ("open_responses", "workflows", "activities", "processes", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node*", "histories"))
    shutil.copy(ROOT / "worker.py", copy)
    file = copy / "workflows" / "response.py"
    assert file.read_text().count(_BEFORE) == 1
    file.write_text(file.read_text().replace(_BEFORE, _AFTER))
    return copy


async def start_new_worker(stack: Stack, code: Path) -> None:
    env = {**stack.env, "OPEN_RESPONSES_BUILD_ID": NEW}
    service = replace(services.worker(9, "new-version", env), name="new-version", folder=code)
    stack.services[service.name] = service
    await stack.start(service.name)


async def current_version(temporal: Client) -> str:
    query = DescribeWorkerDeploymentRequest(namespace="default", deployment_name=DEPLOYMENT)
    try:
        answer = await temporal.workflow_service.describe_worker_deployment(query)
    except RPCError:
        return ""
    return answer.worker_deployment_info.routing_config.current_deployment_version.build_id


async def make_current(temporal: Client, build_id: str) -> None:
    """`temporal worker deployment set-current-version`; refused until a worker of that version has polled."""
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace="default", deployment_name=DEPLOYMENT, build_id=build_id
    )

    async def is_made() -> bool:
        try:
            await temporal.workflow_service.set_worker_deployment_current_version(request)
        except RPCError:
            return False
        return True

    await until(is_made, 60)


async def version_of(temporal: Client, workflow_id: str) -> str:
    description: WorkflowExecutionDescription = await temporal.get_workflow_handle(workflow_id).describe()
    info = description.raw_description.workflow_execution_info.versioning_info
    return info.deployment_version.build_id


async def test_running_responses_stay_with_their_version_and_new_ones_begin_on_the_new_one(
    stack: Stack, upstream: Upstream, changed_code: Path
) -> None:
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)

    async def old_is_current() -> bool:
        return await current_version(temporal) == OLD

    # No manual step for the first version.
    await until(old_is_current, 60)
    held = [upstream.says(f"old {n}", Script(words=20, hold_after=5)) for n in range(5)]
    upstream.says("short", calls(("a", "get_weather", {"city": "Rome"}), turns=[Script(words=5)]))
    upgraded = asyncio.Event()
    async with client_of(stack) as client:
        conversation = (await client.post("/v1/conversations", json={})).json()["id"]
        await collect(client, {"input": "short", "tools": TOOLS, "conversation": conversation})
        running = [asyncio.create_task(collect(client, {"input": f"old {n}"})) for n in range(len(held))]
        await asyncio.gather(*(asyncio.wait_for(script.held.wait(), 60) for script in held))
        load = [asyncio.create_task(keep_asking(client, upgraded)) for _ in range(3)]

        await start_new_worker(stack, changed_code)
        await make_current(temporal, NEW)
        first = await collect(client, {"input": "short", "tools": TOOLS})
        assert await version_of(temporal, first[0]["response"]["id"]) == NEW

        # What a dead worker of the old version ran goes on with the other one of that version.
        await stack.kill("worker-0")
        for script in held:
            script.released.set()
        for events, script in zip(await asyncio.gather(*running), held, strict=True):
            check_whole(events, script.text)
            assert await version_of(temporal, events[0]["response"]["id"]) == OLD

        # A conversation follows the current version.
        turn = await collect(client, {"input": "short", "tools": TOOLS, "conversation": conversation})
        check_whole(turn, "w0 w1 w2 w3 w4 ")
        assert await version_of(temporal, conversation) == NEW
        upgraded.set()
        answers = [answer for answers in await asyncio.gather(*load) for answer in answers]
        assert len(answers) > 3
        for events in answers:
            check_whole(events, "w0 w1 w2 w3 w4 ")

        # The way back: what began on the new version ends there.
        script = upstream.says("new", Script(words=20, hold_after=5))
        newer = asyncio.create_task(collect(client, {"input": "new"}))
        await asyncio.wait_for(script.held.wait(), 60)
        await make_current(temporal, OLD)
        after = await collect(client, {"input": "short", "tools": TOOLS})
        assert await version_of(temporal, after[0]["response"]["id"]) == OLD
        script.released.set()
        events = await newer
        check_whole(events, script.text)
        assert await version_of(temporal, events[0]["response"]["id"]) == NEW
    # And the change would have broken what ran.
    history = await temporal.get_workflow_handle(after[0]["response"]["id"]).fetch_history()
    replayed = replay(changed_code, history.to_json())
    assert replayed.returncode != 0
    assert "Nondeterminism" in replayed.stderr


async def keep_asking(client: httpx.AsyncClient, upgraded: asyncio.Event) -> list[list[Event]]:
    answers = []
    while not upgraded.is_set():
        answers.append([event async for event in events_of(client, {"input": "short", "tools": TOOLS})])
    return answers


def replay(code: Path, history: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-c", _REPLAY)
    return subprocess.run(command, cwd=code, input=history, capture_output=True, text=True, timeout=60, check=False)
