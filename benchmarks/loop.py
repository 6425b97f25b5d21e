"""What the loop costs: a turn with a tool call, calls side by side, history, and a long chain of responses.

Against the same loop in the client's own process: ask the same upstream, wait as the tool does, send the result back.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Any

import httpx
from temporalio.client import Client

from tests.stack import Stack

_TOOLS = [{"type": "open_responses:hosted_tools"}]
_CHAIN = 500


async def measure(client: httpx.AsyncClient, stack: Stack, upstream: str) -> None:
    await _turns(client, stack, upstream)
    await _side_by_side(client, stack)
    await _history(client, stack)
    await _chain(client, stack)


async def _turns(client: httpx.AsyncClient, stack: Stack, upstream: str) -> None:
    for turns in (1, 10, 100):
        prompt = json.dumps({"words": 1, "turns": turns})
        direct, through = [], []
        for _ in range(3 if turns > 10 else 8):
            began = time.perf_counter()
            await _loop_here(client, upstream, prompt)
            direct.append(time.perf_counter() - began)
            began = time.perf_counter()
            await _respond(client, stack, prompt)
            through.append(time.perf_counter() - began)
        ours, theirs = statistics.median(through), statistics.median(direct)
        each = (ours - theirs) / (turns + 1)
        print(
            f"{turns} turn(s) with a tool call, upstream of no delay: {ours * 1000:.0f} ms, "
            f"{ours / theirs:.1f} x a loop in the client; added per sample {each * 1000:.1f} ms"
        )


async def _side_by_side(client: httpx.AsyncClient, stack: Stack) -> None:
    for width in (1, 16, 64):
        prompt = json.dumps({"words": 1, "turns": 1, "width": width, "seconds": 0.5})
        began = time.perf_counter()
        response = await _respond(client, stack, prompt)
        seconds = time.perf_counter() - began
        assert sum(item["type"] == "function_call_output" for item in response["output"]) == width
        print(f"{width} call(s) of 500 ms side by side: {seconds / 0.5:.2f} x one of them")


async def _history(client: httpx.AsyncClient, stack: Stack) -> None:
    temporal = await Client.connect(stack.temporal_address)
    earlier = (0, 0)
    for turns in (10, 100, 250):
        response = await _respond(client, stack, json.dumps({"words": 1, "turns": turns}))
        described = await temporal.get_workflow_handle(response["id"]).describe()
        info = described.raw_description.workflow_execution_info
        each = (info.history_size_bytes - earlier[1]) / (turns - earlier[0])
        print(f"history of {turns} turns: {info.history_length} events; {each:.0f} bytes a turn from {earlier[0]} on")
        earlier = (turns, info.history_size_bytes)


async def _chain(client: httpx.AsyncClient, stack: Stack) -> None:
    previous, seconds = None, []
    for _ in range(_CHAIN):
        began = time.perf_counter()
        previous = (await _respond(client, stack, json.dumps({"words": 1}), previous))["id"]
        seconds.append(time.perf_counter() - began)
    first, last = statistics.median(seconds[:50]), statistics.median(seconds[-50:])
    print(f"chain of {_CHAIN} responses: the last 50 take {last / first:.2f} x the first 50 ({first * 1000:.0f} ms)")


async def _respond(client: httpx.AsyncClient, stack: Stack, prompt: str, previous: str | None = None) -> dict[str, Any]:
    body = {"model": "fake", "input": prompt, "tools": _TOOLS, "previous_response_id": previous}
    response: dict[str, Any] = (await client.post(stack.api_url + "/v1/responses", json=body)).json()
    assert response["status"] == "completed", response
    return response


async def _loop_here(client: httpx.AsyncClient, upstream: str, prompt: str) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    while True:
        calls = await _sample_here(client, upstream, messages)
        if not calls:
            return
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        for call in calls:
            seconds = json.loads(call["function"]["arguments"])["seconds"]
            await asyncio.sleep(seconds)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"waited {seconds:g} s"})


async def _sample_here(
    client: httpx.AsyncClient, upstream: str, messages: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    body = {"model": "fake", "messages": messages, "stream": True}
    async with client.stream("POST", upstream + "/v1/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            choices = json.loads(line.removeprefix("data: "))["choices"]
            for piece in choices[0]["delta"].get("tool_calls", []) if choices else []:
                blank = {"id": piece.get("id"), "type": "function", "function": {"name": "", "arguments": ""}}
                call = found.setdefault(piece["index"], blank)
                call["function"]["name"] += piece["function"].get("name", "")
                call["function"]["arguments"] += piece["function"].get("arguments", "")
    return list(found.values())
