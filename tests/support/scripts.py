"""Scripts for the fake provider, and what a test reads of a response's output."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import collect

HOSTED = [{"type": "open_responses:hosted_tools"}]


def outputs(response: dict[str, Any]) -> list[str]:
    return [item["output"] for item in response["output"] if item["type"] == "function_call_output"]


def types(response: dict[str, Any]) -> list[str]:
    return [item["type"] for item in response["output"]]


async def run(client: httpx.AsyncClient, prompt: Any, **body: Any) -> dict[str, Any]:
    events = await collect(client, {"input": prompt, "tools": HOSTED, **body})
    return events[-1]["response"]  # type: ignore[no-any-return]


def script(upstream: Upstream, prompt: str, *turns: Script) -> Script:
    first, *rest = turns
    first.turns = rest
    return upstream.says(prompt, first)
