"""A response reads its conversation as it was at its start, by reference: whatever dies, or is deleted meanwhile."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Stack, until
from tests.support.temporal_client import client_of_temporal, input_of

pytestmark = pytest.mark.campaign

Json = dict[str, Any]


async def _new(client: httpx.AsyncClient, *items: Json) -> str:
    made = await client.post("/v1/conversations", json={"items": list(items)})
    conversation: str = made.json()["id"]
    return conversation


def _user(text: str, **fields: str) -> Json:
    return {"type": "message", "role": "user", "content": text, **fields}


async def _respond(client: httpx.AsyncClient, conversation: str, text: str) -> Json:
    body = {"model": "fake", "input": text, "conversation": conversation}
    response: Json = (await client.post("/v1/responses", json=body)).json()
    assert response["status"] == "completed", response
    return response


@pytest.mark.parametrize("deleted", ["item", "conversation"])
async def test_a_running_response_reads_again_what_was_deleted_meanwhile(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, deleted: str
) -> None:
    """Its worker dies, and another one has to read the conversation, after a flush as well."""
    long, prompt = f"long {secrets.token_hex(4000)}", f"reads again {deleted}"
    script = upstream.says(prompt, Script(words=6, hold_after=2))
    conversation = await _new(client, _user(long, id="msg_long"))
    running = asyncio.create_task(_respond(client, conversation, prompt))
    await asyncio.wait_for(script.held.wait(), 50)
    path = f"/v1/conversations/{conversation}"
    gone = await client.delete(path if deleted == "conversation" else f"{path}/items/msg_long")
    assert gone.status_code == 200
    worker = await stack.busy_worker()
    await stack.flush()
    await stack.kill_seen(worker)
    script.released.set()
    response = await asyncio.wait_for(running, 50)
    assert long in str(upstream.requests[-1])
    start = await input_of(await client_of_temporal(stack), response["id"])
    assert start.remembered is not None
    assert (start.remembered.turns, len(start.remembered.pieces)) == ([], 1)
    folder = stack.data / "blobs" / conversation
    if deleted == "conversation":
        await until(lambda: _is_gone(folder), 60)
    else:
        assert folder.is_dir()


async def _is_gone(folder: Path) -> bool:
    return not folder.exists()


async def test_a_chain_goes_on_from_a_conversation_until_that_is_deleted(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    long = f"in the chain {secrets.token_hex(4000)}"
    for prompt in ("asks in it", "goes on from it", "too late"):
        upstream.says(prompt, Script(words=2))
    conversation = await _new(client, _user(long))
    first = await _respond(client, conversation, "asks in it")
    body = {"model": "fake", "input": "goes on from it", "previous_response_id": first["id"]}
    for flushed in (False, True):
        assert (await client.post("/v1/responses", json=body)).json()["status"] == "completed"
        assert long in str(upstream.requests[-1])
        if not flushed:
            await stack.flush()
    assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 200
    await until(lambda: _is_gone(stack.data / "blobs" / conversation), 60)
    late = await client.post("/v1/responses", json={**body, "input": "too late"})
    assert (late.status_code, late.json()["error"]["code"]) == (400, "previous_response_not_found")
