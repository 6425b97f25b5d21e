"""A provider that sends too much ends its response, and takes neither the worker nor the API down."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.stack import Stack, check_whole, collect, text_of

pytestmark = pytest.mark.campaign

MIB = 1024 * 1024
TURN = 8 * MIB
HOSTED = [{"type": "open_responses:hosted_tools"}]


def memory_of(stack: Stack) -> dict[str, int]:
    """Resident bytes of each worker and API."""
    found = {}
    for name, process in stack.processes.items():
        if name.startswith(("worker", "api")):
            (line,) = [
                line
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
                if line.startswith("VmHWM:")
            ]
            found[name] = int(line.split()[1]) * 1024
    return found


async def test_of_a_hundred_megabytes_of_text_the_beginning_is_the_answer(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    before = memory_of(stack)
    word = "x" * (MIB // 2 - 1) + " "
    upstream.says("a hundred megabytes", Script(literal=word * 200))
    body = {"model": "fake", "input": "a hundred megabytes", "store": False}
    response = (await client.post("/v1/responses", json=body)).json()
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_bytes"})
    (message,) = response["output"]
    text = message["content"][0]["text"]
    assert message["status"] == "incomplete"
    assert len(text) == TURN
    assert text == (word * 17)[:TURN]
    assert response["usage"]["output_tokens"] > 0, "what came was paid for"
    grown = {name: peak - before.get(name, peak) for name, peak in memory_of(stack).items()}
    assert max(grown.values()) < 40 * TURN, grown


async def test_an_event_that_is_too_large_fails_the_response_once(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("one large event", Script(literal="before " + "x" * (17 * MIB)))
    events = await collect(client, {"model": "fake", "input": "one large event"})
    response = check_whole(events, "before ", "failed")
    assert response["error"]["code"] == "provider_answer_refused"
    assert [item["status"] for item in response["output"]] == ["incomplete"]
    assert script.attempts == 1, "another try would bring the same"


async def test_a_turn_has_so_many_calls_and_no_more(client: httpx.AsyncClient, upstream: Upstream) -> None:
    wanted: list[tuple[str, str, Any]] = [(f"call_{i}", "get_weather", {"city": f"c{i}"}) for i in range(10_000)]
    upstream.says("ten thousand calls", calls(*wanted))
    upstream.says("meanwhile", Script(words=5))
    flood, other = await asyncio.gather(
        collect(client, {"model": "fake", "input": "ten thousand calls", "tools": HOSTED}),
        collect(client, {"model": "fake", "input": "meanwhile"}),
    )
    assert text_of(other) == "w0 w1 w2 w3 w4 "
    response = check_whole(flood, "", "incomplete")
    assert response["incomplete_details"] == {"reason": "max_output_calls"}
    made = [item for item in response["output"] if item["type"] == "function_call"]
    assert len(made) == 128
    outputs = [item["output"] for item in response["output"] if item["type"] == "function_call_output"]
    assert all("not run" in output.lower() for output in outputs), "an answer that was cut off runs nothing"
