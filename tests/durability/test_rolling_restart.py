"""A deploy under load: one process after the other is replaced, and no client of the openai SDK sees an error."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from dev import services
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Stack, check_whole, events_of, http_client, until

pytestmark = pytest.mark.campaign


@pytest_asyncio.fixture
async def port(stack: Stack) -> AsyncIterator[int]:
    """An API whose listening socket is the test's, as a supervisor's or systemd's would be."""
    port = services.free_port()
    listener = services.listen(port)
    stack.services["rolling-api"] = replace(services.api(port, stack.env, listener=listener), name="rolling-api")
    await stack.start("rolling-api")
    yield port
    await services.stop(stack.processes.pop("rolling-api"))
    del stack.services["rolling-api"]
    listener.close()


async def restart_api(stack: Stack) -> None:
    """The new one is there before the old one leaves."""
    old = stack.processes["rolling-api"]
    await stack.start("rolling-api")
    await services.stop(old)


async def restart_worker(stack: Stack, name: str) -> None:
    await services.stop(stack.processes[name], 30)
    await stack.start(name)

    async def is_there() -> bool:
        return await stack.worker_id(name) is not None

    await until(is_there)


async def test_every_process_is_replaced_under_load_and_no_client_sees_an_error(
    stack: Stack, upstream: Upstream, port: int
) -> None:
    script = upstream.says("short", Script(words=5, gap=0.02))
    replaced = asyncio.Event()
    answers: list[str] = []

    async def load() -> None:
        async with AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=2) as client:
            while not replaced.is_set():
                response = await client.responses.create(model="fake", input="short")
                assert response.status == "completed", response.error
                answers.append(response.output_text)

    async def replace_all() -> None:
        try:
            await restart_api(stack)
            for name in ("worker-0", "worker-1"):
                await restart_worker(stack, name)
            await restart_api(stack)
        finally:
            replaced.set()

    async with asyncio.timeout(110):
        await asyncio.gather(*(load() for _ in range(4)), replace_all())
    assert len(answers) > 10
    assert set(answers) == {script.text}


async def test_a_stream_that_a_restart_cuts_off_goes_on_where_it_was(
    stack: Stack, upstream: Upstream, port: int
) -> None:
    script = upstream.says("long", Script(words=40, hold_after=10, gap=0.01))
    url = f"http://127.0.0.1:{port}"
    async with http_client(url) as client:
        events = []
        restarting: asyncio.Task[None] | None = None
        with contextlib.suppress(httpx.RemoteProtocolError):
            async for event in events_of(client, {"input": "long"}):
                events.append(event)
                if restarting is None and event["type"] == "response.output_text.delta":
                    restarting = asyncio.create_task(restart_api(stack))
        assert restarting is not None
        await restarting
        assert events[-1]["type"] != "response.completed"
        script.released.set()
        after = (events[0]["response"]["id"], events[-1]["sequence_number"])
        events += [event async for event in events_of(client, resume=after)]
    check_whole(events, script.text)
