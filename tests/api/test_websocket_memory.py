"""The response that a WebSocket remembers, and continues."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from open_responses.context.compaction import compaction_item, owner
from open_responses.io.sealing import load_sealer
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.responses_http import create, is_error
from tests.support.stack import Stack
from tests.support.websocket_client import ADD, Client, connected, sent


async def test_a_response_that_is_not_stored_is_continued_on_its_socket_only(
    ws: Client, client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("u one", Script(words=1))
    upstream.says("u two", Script(words=2))
    one = await ws.answer(input="u one", store=False, instructions="be brief")
    async with connected(stack.api_url) as other:
        await other.ask(input="u two", store=False, previous_response_id=one["id"])
        await other.is_refused(400, "previous_response_not_found", "previous_response_id")
    is_error(await client.get(f"/v1/responses/{one['id']}"), 404, "not_found")
    two = await ws.answer(input="u two", store=False, previous_response_id=one["id"])
    assert two["previous_response_id"] == one["id"]
    await ws.answer(input="u three", store=False, previous_response_id=two["id"])
    assert sent(upstream) == [
        ("user", "u one"),
        ("assistant", "w0 "),
        ("user", "u two"),
        ("assistant", "w0 w1 "),
        ("user", "u three"),
    ]


async def test_only_the_newest_response_is_remembered(ws: Client) -> None:
    first = await ws.answer(input="hello", store=False)
    second = await ws.answer(input="hello", store=False)
    await ws.ask(input="hello", store=False, previous_response_id=first["id"])
    await ws.is_refused(400, "previous_response_not_found", "previous_response_id")
    await ws.answer(input="hello", store=False, previous_response_id=second["id"])


async def test_the_outputs_of_remembered_calls_are_checked_and_taken(ws: Client, upstream: Upstream) -> None:
    call = calls(("call_1", "sum_up", {"of": 2}))
    call.turns = [Script(words=3)]
    upstream.says("remembered call", call)
    first = await ws.answer(input="remembered call", store=False, tools=[ADD])
    output = {"type": "function_call_output", "call_id": "call_1", "output": "4"}
    second = await ws.answer(input=[output], store=False, tools=[ADD], previous_response_id=first["id"])
    assert second["output"][0]["content"][0]["text"] == "w0 w1 w2 "
    assert [role for role, _ in sent(upstream)] == ["user", "assistant", "tool"]
    await ws.ask(input=[output], store=False, tools=[ADD], previous_response_id=second["id"])
    await ws.is_refused(400, "unknown_tool_call", "input[0].call_id")


async def test_a_remembered_call_without_its_output_is_refused(ws: Client, upstream: Upstream) -> None:
    upstream.says("open call", calls(("call_1", "sum_up", {"of": 2})))
    first = await ws.answer(input="open call", store=False, tools=[ADD])
    await ws.ask(input="and?", store=False, tools=[ADD], previous_response_id=first["id"])
    await ws.is_refused(400, "missing_tool_output", "input")


async def test_a_stored_response_takes_over_what_the_socket_remembers(
    ws: Client, client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    for prompt in ("m stored", "m forgotten", "m kept", "m last"):
        upstream.says(prompt, Script(words=1))
    stored = await create(client, input="m stored")
    forgotten = await ws.answer(input="m forgotten", store=False, previous_response_id=stored["id"])
    again = await ws.answer(input="m forgotten", store=False, previous_response_id=forgotten["id"])
    kept = await ws.answer(input="m kept", previous_response_id=again["id"])
    listed = (await client.get(f"/v1/responses/{kept['id']}/input_items")).json()["data"]
    assert [item["content"][0]["text"] for item in listed] == ["m kept"]
    assert (await client.get(f"/v1/responses/{kept['id']}")).json() == kept
    prompts = ["m stored", "m forgotten", "m forgotten", "m kept", "m last"]
    for loses_redis in (False, True):
        if loses_redis:
            await stack.flush()
        await create(client, input="m last", previous_response_id=kept["id"])
        assert [content for role, content in sent(upstream) if role == "user"] == prompts


async def test_older_stored_responses_are_found_in_the_store(ws: Client, upstream: Upstream) -> None:
    upstream.says("s one", Script(words=1))
    first = await ws.answer(input="s one")
    await ws.answer(input="something else")
    await ws.answer(input="s two", store=False, previous_response_id=first["id"])
    assert sent(upstream) == [("user", "s one"), ("assistant", "w0 "), ("user", "s two")]


@pytest.mark.parametrize("way", ["refused", "failed"])
async def test_a_failed_continuation_makes_the_socket_forget(ws: Client, upstream: Upstream, way: str) -> None:
    first = await ws.answer(input="hello", store=False)
    again = {"store": False, "previous_response_id": first["id"]}
    if way == "refused":
        await ws.ask(input="hello", temperature=9, **again)
        await ws.is_refused(400, "invalid_value", "temperature")
    else:
        upstream.says("fails on the socket", Script(faults=[Fault(status=400)]))
        failed = await ws.turn(input="fails on the socket", **again)
        assert [event["type"] for event in failed[-2:]] == ["error", "response.failed"]
        assert failed[-2]["sequence_number"] == len(failed) - 2
    await ws.ask(input="hello", **again)
    await ws.is_refused(400, "previous_response_not_found", "previous_response_id")
    await ws.answer(input="hello", store=False)


async def test_a_stored_response_survives_a_failed_continuation(ws: Client) -> None:
    first = await ws.answer(input="hello")
    await ws.ask(input="hello", temperature=9, previous_response_id=first["id"])
    await ws.is_refused(400, "invalid_value", "temperature")
    await ws.answer(input="hello", previous_response_id=first["id"])


@pytest.mark.campaign
async def test_what_is_remembered_is_truncated_or_refused_like_any_context(ws: Client, upstream: Upstream) -> None:
    old = "old " * 250
    upstream.says(old, Script(words=1))
    first = await ws.answer(model="fake-small", input=old, store=False)
    new = {"model": "fake-small", "input": "new " * 200, "store": False}
    upstream.says(new["input"], Script(words=1))
    second = await ws.answer(**new, truncation="auto", previous_response_id=first["id"])
    assert sent(upstream) == [("user", new["input"])]
    failed = (await ws.turn(**new, previous_response_id=second["id"]))[-1]["response"]
    assert failed["error"]["code"] == "context_length_exceeded"


async def test_a_long_conversation_is_remembered_up_to_the_limit_of_a_body(ws: Client, upstream: Upstream) -> None:
    long, longer, longest = "x" * 300_000, "y" * 300_000, "z" * 500_000
    for text in (long, longer):
        upstream.says(text, Script(words=1))
    first = await ws.answer(input=long, store=False)
    second = await ws.answer(input=longer, store=False, previous_response_id=first["id"])
    assert sent(upstream) == [("user", long), ("assistant", "w0 "), ("user", longer)]
    await ws.ask(input=longest, store=False, previous_response_id=second["id"])
    await ws.is_refused(413, "request_too_large")


async def test_a_chain_starts_from_compacted_output(ws: Client, stack: Stack, upstream: Upstream) -> None:
    sealed = load_sealer(None, Path(stack.data)).seal(b"notes on it all", bound_to=owner("default"))
    window = [compaction_item(sealed), {"role": "user", "content": "go on from the notes"}]
    upstream.says("go on from the notes", Script(words=1, turns=[Script(words=1)]))
    first = await ws.answer(input=window, store=False)
    assert "notes on it all" in str(sent(upstream)[0])
    await ws.answer(input="and on", store=False, previous_response_id=first["id"])
    assert "notes on it all" in str(sent(upstream)[0])
    assert sent(upstream)[-1] == ("user", "and on")
