"""Requests that end too early, and numbers that are none."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.responses_http import is_error
from tests.support.stack import Stack


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_nobodys_error(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    log = stack.data / "logs" / "api.log"
    before = log.stat().st_size
    parts = urlsplit(stack.api_url)
    for _ in range(5):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(b'POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 31\r\n\r\n{"mod')
        await writer.drain()
        writer.close()
        began = time.monotonic()
        assert (await client.get("/healthz")).status_code == 200
        assert time.monotonic() - began < 5
    assert b"unexpected_error" not in log.read_bytes()[before:]


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", "1.5", "0000019999", "1" * 5000, "0" * 9 + "1" + "9" * 5000])
async def test_a_limit_that_is_none_is_refused(client: httpx.AsyncClient, limit: str) -> None:
    made = (await client.post("/v1/responses", json={"model": "fake", "input": "limited"})).json()
    is_error(await client.get(f"/v1/responses/{made['id']}/input_items", params={"limit": limit}), 400, "invalid_value")
    padded = await client.get(f"/v1/responses/{made['id']}/input_items", params={"limit": "00010"})
    assert len(padded.json()["data"]) == 1


async def test_a_call_by_two_references_has_not_two_outputs(client: httpx.AsyncClient) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "x"}
    items = [{"role": "user", "content": "hi"}, call, call, output]
    is_error(await client.post("/v1/responses", json={"model": "fake", "input": items}), 400, "invalid_value")
