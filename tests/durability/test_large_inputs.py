"""The largest input that is allowed holds up neither the worker's other streams nor the renewal of its lease."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import Stack, check_whole, collect

pytestmark = pytest.mark.campaign

PARTS = [{"type": "input_text", "text": ""}] * 9_000
PROMPT = "say something after all of that"
LARGE = [{"role": "user", "content": PARTS}] * 17
AT_ONCE = 3


async def test_the_largest_inputs_leave_leases_and_other_streams_alone(tmp_path: Path) -> None:
    """Each is read several times: by the sample, by `finish`, and with the workflow's start. A worker that holds its
    interpreter for longer than its lease is taken for dead, and its answers are sampled again.

    The lease is much longer than by default: this is about what a worker does, and not about how busy the machine is.
    """
    async with (
        Upstream() as upstream,
        small_stack(tmp_path, upstream, LEASE_SECONDS="10", MAX_CACHED_STATE_BYTES="20000000") as stack,
        client_of(stack) as client,
    ):
        script = upstream.says("a long answer", Script(words=400, gap=0.02))
        streams = [asyncio.create_task(collect(client, {"input": "a long answer"})) for _ in range(4)]
        answers = await asyncio.gather(*(answered(client) for _ in range(AT_ONCE)))
        assert [answer["status"] for answer in answers] == ["completed"] * AT_ONCE
        for stream in streams:
            events = await stream
            check_whole(events, script.text)
            assert not [event for event in events if event["type"] == "open_responses:attempt"]
        assert script.attempts == 4
        assert logged(stack, "worker_lost") == []
        # The states of these inputs weigh more than the bound, each: the worker keeps at most the one at work.
        assert logged(stack, "run_left_cache")


async def answered(client: httpx.AsyncClient) -> dict[str, object]:
    body = {"model": "fake", "input": [*LARGE, {"role": "user", "content": PROMPT}]}
    response = await client.post("/v1/responses", content=json.dumps(body), timeout=120)
    assert response.status_code == 200, response.text[:500]
    found: dict[str, object] = response.json()
    return found


def logged(stack: Stack, event: str) -> list[str]:
    """The lines of all processes that have this event."""
    return [
        line
        for file in (stack.data / "logs").rglob("*")
        if file.is_file()
        for line in file.read_text(errors="replace").splitlines()
        if f'"{event}"' in line
    ]
