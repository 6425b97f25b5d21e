"""What a conversation of 2,000 items takes in Temporal, Redis and files, beside one of half as many."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from temporalio.client import Client

from tests.support.fake_upstream import Script, Upstream
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import Stack

pytestmark = pytest.mark.campaign

_ITEMS_PER_STEP = 20
_WORDS = random.Random(27)


@pytest.mark.timeout(1800)
async def test_a_conversation_of_twice_the_items_takes_twice_the_bytes(tmp_path: Path, upstream: Upstream) -> None:
    """Each step adds 18 items of 1 kB and asks for one answer: 100 responses at 2,000 items."""
    async with small_stack(tmp_path, upstream) as stack, client_of(stack) as client:
        conversation = (await client.post("/v1/conversations", json={})).json()["id"]
        took: dict[int, dict[str, int]] = {}
        responses: list[str] = []
        for step in range(1, 101):
            items = [_user(_text()) for _ in range(_ITEMS_PER_STEP - 2)]
            added = await client.post(f"/v1/conversations/{conversation}/items", json={"items": items})
            assert added.status_code == 200, added.text
            responses.append(await _answered(client, upstream, conversation, step))
            if step in (50, 100):
                took[step * _ITEMS_PER_STEP] = await _bytes(stack, conversation, responses)
    for where in took[2000]:
        print(f"{where}: {took[1000][where]:,} bytes, {took[2000][where]:,}: {_ratio(took, where):.2f}")
    for where in ("Redis", "Temporal", "files", "all"):
        assert _ratio(took, where) < 2.7, where


def _ratio(took: dict[int, dict[str, int]], where: str) -> float:
    return took[2000][where] / max(1, took[1000][where])


def _user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def _text() -> str:
    return "".join(_WORDS.choices("abcdefghijklmnopqrstuvwxyz ", k=1000))


async def _answered(client: httpx.AsyncClient, upstream: Upstream, conversation: str, step: int) -> str:
    prompt = f"step {step} {_text()}"
    upstream.says(prompt, Script(literal=_text()))
    body = {"model": "fake", "input": prompt, "conversation": conversation}
    answer = await client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    response_id: str = answer.json()["id"]
    return response_id


async def _bytes(stack: Stack, conversation: str, responses: list[str]) -> dict[str, int]:
    async with aioredis.Redis.from_url(stack.redis_url) as redis:
        in_redis = sum([await redis.memory_usage(key, samples=0) or 0 async for key in redis.scan_iter("or:*")])
    temporal = await Client.connect(stack.temporal_address)
    histories = 0
    async for run in temporal.list_workflows(f"WorkflowId = '{conversation}'"):
        histories += run.raw_info.history_size_bytes
        if not run.raw_info.history_size_bytes:
            described = await temporal.get_workflow_handle(conversation, run_id=run.run_id).describe()
            histories += described.raw_description.workflow_execution_info.history_size_bytes
    for response_id in responses:
        described = await temporal.get_workflow_handle(response_id).describe()
        histories += described.raw_description.workflow_execution_info.history_size_bytes
    files = sum(path.stat().st_size for path in (stack.data / "blobs").rglob("*") if path.is_file())
    return {"Redis": in_redis, "Temporal": histories, "files": files, "all": in_redis + histories + files}
