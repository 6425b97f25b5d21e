"""What the loop costs: a turn with a tool call, calls side by side, and history.

Against the same loop in the client's own process: ask the same upstream, wait as the tool does, send the result back.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from temporalio.client import Client

from benchmarks.parts.tools import wait
from tests.support.history_cost import bytes_by_turn
from tests.support.stack import Stack

_TOOLS = [{"type": "open_responses:hosted_tools"}]
_CALL_SECONDS = 0.1
_ROUNDS = 9


async def measure(client: httpx.AsyncClient, stack: Stack, upstream: str) -> None:
    await _turns(client, stack, upstream)
    await _side_by_side(client, stack, upstream)
    await _history(client, stack)


async def _turns(client: httpx.AsyncClient, stack: Stack, upstream: str) -> None:
    for turns in (1, 10, 100):
        prompt = json.dumps({"words": 1, "turns": turns})
        direct, through = [], []
        for _ in range(3 if turns > 10 else 8):
            began = time.perf_counter()
            await loop_here(client, upstream, prompt)
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


async def _side_by_side(client: httpx.AsyncClient, stack: Stack, upstream: str) -> None:
    """Interleaved with one call, and with the same calls by `asyncio.gather` in this process."""
    for width in (10, 64):
        one, many, here = [], [], []
        for _ in range(_ROUNDS):
            one.append(await _timed(_call_tools(client, stack, 1)))
            many.append(await _timed(_call_tools(client, stack, width)))
            here.append(await _timed(loop_here(client, upstream, _calls_prompt(width))))
        single, ours, theirs = (statistics.median(seconds) * 1000 for seconds in (one, many, here))
        print(
            f"{width} calls of {_CALL_SECONDS * 1000:.0f} ms side by side: the whole response {ours:.0f} ms; "
            f"with one call {single:.0f} ms ({ours / single:.2f} x); asyncio in the client {theirs:.0f} ms"
        )


def _calls_prompt(width: int) -> str:
    return json.dumps({"words": 1, "turns": 1, "width": width, "seconds": _CALL_SECONDS})


async def _call_tools(client: httpx.AsyncClient, stack: Stack, width: int) -> None:
    response = await _respond(client, stack, _calls_prompt(width))
    assert sum(item["type"] == "function_call_output" for item in response["output"]) == width


async def _timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def _history(client: httpx.AsyncClient, stack: Stack) -> None:
    """Bytes of history that each turn adds, at turns 10, 100 and 500 of one response."""
    temporal = await Client.connect(stack.temporal_address)
    response = await _respond(client, stack, json.dumps({"words": 1, "turns": 500}))
    sizes = await bytes_by_turn(temporal, response["id"])
    for turn in (10, 100, 500):
        near = sizes[max(1, turn - 10) : turn]
        print(f"history at turn {turn}: {statistics.fmean(near):.0f} bytes a turn (mean of those before it)")


async def _respond(client: httpx.AsyncClient, stack: Stack, prompt: str) -> dict[str, Any]:
    body = {"model": "fake", "input": prompt, "tools": _TOOLS}
    response: dict[str, Any] = (await client.post(stack.api_url + "/v1/responses", json=body)).json()
    assert response.get("status") == "completed", response
    return response


async def loop_here(
    client: httpx.AsyncClient, upstream: str, prompt: str, on_turn: Callable[[], object] = lambda: None
) -> None:
    """The same loop in this process, and `on_turn` after each of its model turns that calls tools."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    while True:
        calls = await _sample_here(client, upstream, messages)
        if not calls:
            return
        on_turn()
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        outputs = await asyncio.gather(*(wait(**json.loads(call["function"]["arguments"])) for call in calls))
        for call, output in zip(calls, outputs, strict=True):
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": output})


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
