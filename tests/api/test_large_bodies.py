"""A body that is hard to read is refused, and the API serves others meanwhile."""

from __future__ import annotations

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from api.body import off_loop
from open_responses.schema.validation import read_json_object
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Upstream
from tests.support.stack import Stack

pytestmark = pytest.mark.campaign

# A text of escapes that does not end, with more separators in it than a body may have values.
UNENDING = b'{"model":"fake","input":"' + b'\\",' * 1_000_000


async def test_another_tenant_is_served_while_bodies_that_are_hard_to_read_come_in(
    stack: Stack, upstream: Upstream
) -> None:
    blocks = (key_block("bomber", "bomber-key"), key_block("other", "other-key"))
    async with keyed_api(stack, *blocks, MAX_BODY_BYTES=str(64 * 1024 * 1024)) as api:
        headers = {**bearer("bomber-key"), "Content-Type": "application/json"}
        paths = ("responses", "responses/input_tokens", "responses/compact", "conversations")
        bombs = [asyncio.create_task(api.post(f"/v1/{path}", content=UNENDING, headers=headers)) for path in paths]
        while True:
            small = {"model": "fake", "input": "beside a large body"}
            answer = await api.post("/v1/responses", json=small, headers=bearer("other-key"))
            assert answer.json()["status"] == "completed"
            if all(bomb.done() for bomb in bombs):
                break
        for bomb in bombs:
            refused = await bomb
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid_json")
        async with connect(
            str(api.base_url).replace("http", "ws") + "/v1/responses",
            additional_headers=bearer("bomber-key"),
            max_size=None,
        ) as socket:
            await socket.send(UNENDING.decode())
            told = json.loads(await socket.recv())
            assert (told["status"], told["error"]["code"]) == (400, "invalid_json")


async def test_the_event_loop_turns_while_a_large_body_is_read() -> None:
    turns = 0
    reading = asyncio.create_task(off_loop(len(UNENDING), read_json_object, UNENDING))
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    with pytest.raises(Exception, match="not valid JSON"):
        await reading
    assert turns > 5, "each piece of the body gives the interpreter back"
