"""What the thousandth turn of one response costs, beside the tenth: time, and Temporal's history.

Each turn calls a hosted tool that answers at once, and the provider is sent the whole conversation again. A client that
runs the same loop itself pays for the longer conversation too, so its times stand beside ours.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence

import httpx
from temporalio.client import Client

from benchmarks.parts.loop import loop_here
from benchmarks.stack import ms
from tests.support.history_cost import bytes_by_turn, runs_of
from tests.support.stack import Stack

_MOST = 1000
"""As `TURNS` in the environment: model turns, each of which calls the tool, but the last."""
_NEAR = 20
"""Turns whose median stands for one, up to the named turn."""
_SHOWN = (10, 100, 500)
"""And the last."""


async def measure(client: httpx.AsyncClient, stack: Stack, upstream: str) -> None:
    """Prints times and sizes by turn. The limit `max_turns` is 1,000."""
    turns = int(os.environ.get("TURNS", str(_MOST)))
    prompt = json.dumps({"words": 1, "turns": turns - 1})
    ends, response_id = await _ends_of_turns(client, stack, prompt)
    here = list[float]()
    began = time.perf_counter()
    await loop_here(client, upstream, prompt, on_turn=lambda: here.append(time.perf_counter() - began))
    temporal = await Client.connect(stack.temporal_address)
    sizes = await bytes_by_turn(temporal, response_id)
    runs = await runs_of(temporal, response_id)
    ours, theirs = _lengths(ends), _lengths(here)
    events = sum(len(run) for run in runs)
    print(
        f"\n{len(ours)} turns with a tool call in one response: {ends[-1]:.0f} s; a loop in the client {here[-1]:.0f} s"
    )
    for turn in [*(turn for turn in _SHOWN if turn < turns), turns]:
        print(
            f"  turn {turn:<5} {ms(_near(ours, turn))} (in the client {ms(_near(theirs, turn))}), "
            f"{statistics.fmean(_window(sizes, turn)):.0f} bytes of history"
        )
    added = [_near(ours, turn) - _near(theirs, turn) for turn in (10, turns)]
    print(f"  turn {turns:,} over turn 10: {_near(ours, turns) / _near(ours, 10):.2f} x", end="")
    print(f"; of what the server adds: {added[1] / added[0]:.2f} x")
    print(f"  history: {events} events in {len(runs)} runs, {events / len(ours):.1f} a turn")


async def _ends_of_turns(client: httpx.AsyncClient, stack: Stack, prompt: str) -> tuple[list[float], str]:
    """Seconds from the start to the end of each turn's call, and the response's id."""
    body = {"model": "fake", "input": prompt, "stream": True, "tools": [{"type": "open_responses:hosted_tools"}]}
    ends, response_id, began = list[float](), "", time.perf_counter()
    async with client.stream("POST", stack.api_url + "/v1/responses", json=body, timeout=600) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and '"response.created"' in line:
                response_id = json.loads(line.removeprefix("data: "))["response"]["id"]
            elif line == "event: response.function_call_arguments.done":
                ends.append(time.perf_counter() - began)
            elif line == "event: response.completed":
                return ends, response_id
    raise ValueError(f"the response did not complete: {len(ends)} turns were seen")


def _lengths(ends: Sequence[float]) -> list[float]:
    return [end - begin for begin, end in zip([0.0, *ends], ends, strict=False)]


def _window(values: Sequence[float], turn: int) -> Sequence[float]:
    """Those up to a turn: of the last ones before it, as many as are behind the first turn, which also starts."""
    end = min(turn, len(values))
    return values[max(1, end - _NEAR) : end]


def _near(values: Sequence[float], turn: int) -> float:
    return statistics.median(_window(values, turn))
