"""`open_responses serve`, the API and a worker in one process: it starts eagerly, drains, and is as replaceable."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import orjson
import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from dev import services
from dev.supervisor import new_worker_id
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Event, Stack, check_whole, events_of, http_client, until

ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def serving(stack: Stack, **env: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a `serve` beside the stack's own processes."""
    port = services.free_port()
    stack.services["serve"] = services.serve(port, new_worker_id(7), {**stack.env, **env})
    await stack.start("serve")
    try:
        async with http_client(f"http://127.0.0.1:{port}") as client:
            yield client
    finally:
        await services.stop(stack.processes.pop("serve"), 30)
        del stack.services["serve"]


@pytest_asyncio.fixture
async def served(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(stack) as client:
        yield client


async def test_a_response_starts_eagerly_in_the_process_that_was_asked_for_it(
    served: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Its first workflow task comes with the answer to its start, and Temporal gives it to no other worker."""
    script = upstream.says("serve eagerly", Script(words=5))
    events = [event async for event in events_of(served, {"input": "serve eagerly"})]
    check_whole(events, script.text)
    temporal = await Client.connect(stack.temporal_address)
    history = await temporal.get_workflow_handle(events[0]["response"]["id"]).fetch_history()
    started, *rest = history.events
    assert started.workflow_execution_started_event_attributes.eager_execution_accepted
    by = [
        attributes.identity
        for event in rest
        if event.event_type in (EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED, EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED)
        for attributes in (event.workflow_task_started_event_attributes, event.activity_task_started_event_attributes)
        if attributes.identity
    ]
    # An eager task has the identity of the client that started the workflow.
    assert by[0].startswith(f"{stack.processes['serve'].pid}@")
    assert by[1].startswith(stack.services["serve"].env["OPEN_RESPONSES_WORKER_ID"])


@pytest.mark.campaign
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_client_that_leaves_does_not_end_the_process(served: httpx.AsyncClient, stack: Stack) -> None:
    """The command line ends at a broken pipe, as `head` expects. The server, which runs under it, does not."""
    status = Path(f"/proc/{stack.processes['serve'].pid}/status").read_text()
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn:")).split()[1], 16)
    assert ignored & 1 << (signal.SIGPIPE - 1)


async def test_kill_9_in_the_middle_of_a_stream_leaves_a_client_that_comes_back_without_gap_or_repeat(
    served: httpx.AsyncClient, client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Its own worker samples and its own API streams: both die at once. The client goes on with another API."""
    script = upstream.says("kill serve", Script(words=30, hold_after=8))
    events: list[Event] = []

    async def read_and_kill() -> None:
        async for event in events_of(served, {"input": "kill serve"}):
            events.append(event)
            # The words before the pause are any number of deltas.
            if event["type"] == "response.output_text.delta" and not script.released.is_set():
                await asyncio.wait_for(script.held.wait(), 50)
                await stack.kill("serve")
                script.released.set()

    with pytest.raises(httpx.TransportError):
        await read_and_kill()
    resume = (events[0]["response"]["id"], events[-1]["sequence_number"])
    events += [event async for event in events_of(client, resume=resume)]
    check_whole(events, script.text)
    assert script.attempts == 2


async def test_sigterm_hands_the_work_over_and_lets_the_stream_end(
    served: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("terminate serve", Script(words=30, hold_after=8))
    events: list[Event] = []
    async for event in events_of(served, {"input": "terminate serve"}):
        events.append(event)
        # The words before the pause are any number of deltas.
        if event["type"] == "response.output_text.delta" and not script.released.is_set():
            await asyncio.wait_for(script.held.wait(), 50)
            stack.processes["serve"].send_signal(signal.SIGTERM)
            await until(lambda: _is_handed_over(script))
            script.released.set()
    check_whole(events, script.text)
    assert [e["reason"] for e in events if e["type"] == "open_responses:attempt"] == ["handed_over"]
    assert await asyncio.to_thread(stack.processes["serve"].wait, 50) == 0


async def _is_handed_over(script: Script) -> bool:
    return script.attempts == 2


@pytest.mark.campaign
async def test_without_temporal_it_says_so_and_waits_for_it(stack: Stack, tmp_path: Path) -> None:
    port = services.free_port()
    env = {**stack.env, "TEMPORAL_ADDRESS": "127.0.0.1:9", "OPEN_RESPONSES_START_PATIENCE_SECONDS": "0.1"}
    process = services.serve(port, new_worker_id(8), env).start(tmp_path)
    log = tmp_path / "serve.log"
    try:
        async with http_client(f"http://127.0.0.1:{port}") as client:
            await until(lambda: services.port_answers(port))
            health = await client.get("/readyz")
            assert health.status_code == 503
            assert "temporal" in health.text
            refused = await client.post("/v1/responses", json={"model": "fake", "input": "nobody starts this"})
            assert refused.status_code == 503
            assert "Temporal" in refused.json()["error"]["message"]
        await until(lambda: _logs(log, "temporal_not_reachable"))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 50) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


async def _logs(log: Path, name: str) -> bool:
    return name in {orjson.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{")}


@pytest.mark.campaign
async def test_what_keeps_it_from_starting_is_one_line(stack: Stack, tmp_path: Path) -> None:
    (tmp_path / "unknown.toml").write_text(
        '[[providers]]\nname = "none"\nadapter = "no.such:Adapter"\nbase_url = "http://127.0.0.1:9"\n'
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        outcomes = {
            "a port that is taken": ({}, port, f"serve: cannot listen at 127.0.0.1, port {port} ("),
            "a file that is missing": ({"OPEN_RESPONSES_CONFIG": "no.toml"}, "0", "serve: no.toml: no such file."),
            "an adapter that is missing": (
                {"OPEN_RESPONSES_CONFIG": str(tmp_path / "unknown.toml")},
                "0",
                "serve: provider 'none': adapter 'no.such:Adapter' cannot be used",
            ),
        }
        for what, (env, at, line) in outcomes.items():
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "open_responses", "serve", "--port", at),
                env={**os.environ, **stack.env, **env},
                cwd=ROOT,
                stderr=asyncio.subprocess.PIPE,
            )
            _, told = await asyncio.wait_for(process.communicate(), 60)
            assert process.returncode == 1, what
            assert told.decode().splitlines()[-1].startswith(line), what


@pytest.mark.campaign
async def test_one_address_has_the_metrics_of_both_halves_and_of_temporals_sdk(stack: Stack) -> None:
    port = services.free_port()
    async with serving(stack, OPEN_RESPONSES_API_METRICS_PORT=str(port)), http_client(f"http://127.0.0.1:{port}") as at:
        text = (await at.get("/metrics")).text
    for part in ('component="api"', 'component="worker"', "temporal_"):
        assert part in text


@pytest.mark.campaign
@pytest.mark.parametrize("fault", ["workflow poller", "appender"])
async def test_a_half_that_fails_ends_the_process(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, tmp_path: Path, fault: str
) -> None:
    """With an error in its log and exit code 1. What it was asked for goes on elsewhere."""
    port, prompt, trigger = services.free_port(), f"half of a process: {fault}", tmp_path / "now"
    whole = services.serve(port, new_worker_id(9), stack.env, graceful_seconds=1)
    command = (sys.executable, "-m", "tests.support.faulty_worker", fault, str(trigger), *whole.command[3:])
    service = replace(whole, command=command)
    process = service.start(tmp_path)
    script = upstream.says(prompt, Script(words=20, hold_after=5))
    try:
        assert await services.wait_ready(service, process, 60)
        async with http_client(f"http://127.0.0.1:{port}") as served:
            begun = await served.post("/v1/responses", json={"model": "fake", "input": prompt, "background": True})
        await asyncio.wait_for(script.held.wait(), 50)
        trigger.touch()
        script.released.set()
        assert await asyncio.to_thread(process.wait, 50) == 1
    finally:
        process.kill()
        process.wait()
    events = [event async for event in events_of(client, resume=(begun.json()["id"], None))]
    check_whole(events, script.text)
    log = (tmp_path / "serve.log").read_text()
    assert log.splitlines()[-1] == (
        "serve: an unexpected error ended this process. Look for worker_failed in its log"
    ), log
    assert await _logs(tmp_path / "serve.log", "worker_failed" if fault == "workflow poller" else "chore_died")
