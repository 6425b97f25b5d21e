"""The recipe of docs/operations.md for HAProxy, in front of two API processes of which one is restarted.

Debian's package `haproxy` has it. Where it is not installed, the test is skipped.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from dev import services
from tests.support.code_blocks import blocks
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Event, Stack, another_api, check_whole, events_of, http_client, until

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.timeout(200),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="HAProxy is not installed: apt-get install haproxy"),
]

_WORDS = 120


def recipe(port: int, processes: list[httpx.AsyncClient]) -> str:
    """The page's configuration, without TLS, at these addresses."""
    (block,) = [block for block in blocks("", page="operations.md") if "default_backend api" in block.text]
    text = re.sub(r"bind :443 ssl crt \S+", f"bind 127.0.0.1:{port}", block.text)
    for number, client in enumerate(processes, 1):
        text = re.sub(rf"(server app-{number}) \S+", rf"\1 127.0.0.1:{client.base_url.port}", text)
    assert "10.0.0" not in text
    return text


@asynccontextmanager
async def load_balancer(folder: Path, processes: list[httpx.AsyncClient]) -> AsyncIterator[str]:
    """HAProxy's address, once it has an API process to send requests to."""
    port = services.free_port()
    (folder / "haproxy.cfg").write_text(recipe(port, processes))
    process = subprocess.Popen(["haproxy", "-f", str(folder / "haproxy.cfg")], stderr=subprocess.DEVNULL)
    try:
        async with http_client(f"http://127.0.0.1:{port}") as client:

            async def answers() -> bool:
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.HTTPError:
                    return False

            await until(answers, 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


async def followed(url: str, body: dict[str, object]) -> tuple[list[Event], int]:
    """The events of a streamed request, over as many connections as it takes, and the number of further ones."""
    events: list[Event] = []
    breaks = 0
    async with http_client(url) as client:
        while not events or events[-1]["type"] not in ("response.completed", "response.failed"):
            seen = (events[0]["response"]["id"], events[-1]["sequence_number"]) if events else None
            try:
                async for event in events_of(client, body, resume=seen):
                    events.append(event)
            except httpx.HTTPError:
                breaks += 1
                assert breaks < 20
    return events, breaks


async def test_no_request_is_refused_while_an_api_process_restarts_and_its_streams_go_on(
    stack: Stack, upstream: Upstream, tmp_path: Path
) -> None:
    scripts = [
        upstream.says(f"through a load balancer {number}", Script(words=_WORDS, gap=0.05)) for number in range(4)
    ]
    async with another_api(stack) as leaves, another_api(stack) as stays:
        name = f"api-{leaves.base_url.port}"
        async with load_balancer(tmp_path, [leaves, stays]) as url, http_client(url) as client:
            streams = [asyncio.create_task(followed(url, {"input": f"through a load balancer {n}"})) for n in range(4)]
            await until(lambda: _all_run(upstream, scripts), 30)
            stack.signal(name, signal.SIGTERM)
            statuses = []
            while not all(stream.done() for stream in streams):
                answer = await client.post("/v1/responses", json={"model": "fake", "input": "hello"})
                statuses.append(answer.status_code)
            stack.leaving.discard(name)
            found = await asyncio.gather(*streams)
    assert set(statuses) == {200}
    assert sum(breaks for _, breaks in found) >= 1, "no stream went through the process that was restarted"
    for (events, _), script in zip(found, scripts, strict=True):
        check_whole(events, script.text)


async def _all_run(upstream: Upstream, scripts: list[Script]) -> bool:
    return all(script.attempts for script in scripts)
