"""Signatures of thoughts behind a chat server: each goes back to where it came from, and to no other provider."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.provider_wire import Wire, call, output_of, outputs_of
from tests.support.vendor_streams import ADAPTERS, chat_chunk, read, stream_of

Json = dict[str, Any]
SIGNATURE = "c2lnbmF0dXJl"
SPELLINGS: dict[str, Json] = {
    "google": {"extra_content": {"google": {"thought_signature": SIGNATURE}}},
    "vertex": {"extra_content": {"vertex": {"thought_signature": SIGNATURE}}},
    "litellm": {"provider_specific_fields": {"thought_signature": SIGNATURE}},
    "plain": {"thought_signature": SIGNATURE},
    "camel": {"thoughtSignature": SIGNATURE},
}
TOOLS = [{"type": "function", "name": name} for name in ("get_weather", "get_time")]


def piece(index: int, name: str, **more: Any) -> Json:
    function = {"name": name, "arguments": "{}", **more.pop("function", {})}
    return {"index": index, "id": f"call_{index}", "type": "function", "function": function, **more}


async def answered(http: httpx.AsyncClient, *chunks: Json) -> list[Json]:
    """The output items that a client gets."""
    answer = stream_of("openai-chat", *chunks, chat_chunk(finish="stop"), done=True)
    return outputs_of(await read(http, "openai-chat", answer, call(tools=TOOLS)))


async def next_request(
    http: httpx.AsyncClient, items: list[Json], vendor: str = "openai-chat", **settings: Any
) -> Json:
    """The body of the next turn: the items, and the outputs of their calls."""
    outputs = [output_of(item["call_id"]) for item in items if item["type"] == "function_call"]
    said = [] if outputs else [{"role": "user", "content": "go on"}]
    asked = call([{"role": "user", "content": "hello"}, *items, *outputs, *said], tools=TOOLS)
    async with Wire(stream_of("openai-chat", chat_chunk({"content": "ok"}), chat_chunk(finish="stop"))) as wire:
        provider = ADAPTERS[vendor](wire.provider(vendor, **settings), http, "key")
        async for _ in provider.sample(asked):
            pass
        return wire.requests[0].json


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("place", ["call", "function"])
async def test_a_signature_goes_back_with_its_call(http: httpx.AsyncClient, spelling: str, place: str) -> None:
    signed = SPELLINGS[spelling]
    first = piece(0, "get_weather", **(signed if place == "call" else {"function": signed}))
    items = await answered(http, chat_chunk({"tool_calls": [first, piece(1, "get_time")]}))
    assert [item["type"] for item in items] == ["reasoning", "function_call", "function_call"]
    body = await next_request(http, items)
    sent = body["messages"][1]["tool_calls"]
    assert {key: value for key, value in sent[0].items() if key != "index"} == {
        key: value for key, value in first.items() if key != "index"
    }
    assert SIGNATURE not in json.dumps(sent[1])


async def test_parallel_calls_keep_each_its_own_signature(http: httpx.AsyncClient) -> None:
    pieces = [
        piece(at, name, extra_content={"google": {"thought_signature": f"signature-{at}"}})
        for at, name in enumerate(["get_weather", "get_time"])
    ]
    for chunks in ([chat_chunk({"tool_calls": pieces})], [chat_chunk({"tool_calls": [each]}) for each in pieces]):
        body = await next_request(http, await answered(http, *chunks))
        sent = body["messages"][1]["tool_calls"]
        assert [each["extra_content"]["google"]["thought_signature"] for each in sent] == ["signature-0", "signature-1"]


async def test_a_signature_behind_its_call_goes_back_with_it(http: httpx.AsyncClient) -> None:
    late = {"index": 0, "id": "call_0", "function": {"arguments": ""}, **SPELLINGS["google"]}
    chunks = [chat_chunk({"tool_calls": [each]}) for each in (piece(0, "get_weather"), late, piece(1, "get_time"))]
    sent = (await next_request(http, await answered(http, *chunks)))["messages"][1]["tool_calls"]
    assert [SIGNATURE in json.dumps(each) for each in sent] == [True, False]


async def test_a_signature_goes_back_with_a_call_whose_id_was_replaced(http: httpx.AsyncClient) -> None:
    items = await answered(http, chat_chunk({"tool_calls": [piece(0, "get_weather", **SPELLINGS["google"])]}))
    items[-1]["call_id"] = "call_other"
    sent = (await next_request(http, items))["messages"][1]["tool_calls"]
    assert (sent[0]["id"], SIGNATURE in json.dumps(sent[0])) == ("call_other", True)


async def test_a_signature_of_a_text_goes_back_with_its_message(http: httpx.AsyncClient) -> None:
    items = await answered(http, chat_chunk({"content": "Hello"}), chat_chunk({"content": "", **SPELLINGS["google"]}))
    assert [item["type"] for item in items] == ["message", "reasoning"]
    message = (await next_request(http, items))["messages"][1]
    assert (message["content"], message["extra_content"]) == ("Hello", SPELLINGS["google"]["extra_content"])


async def test_a_signature_goes_to_no_other_provider(http: httpx.AsyncClient) -> None:
    items = await answered(http, chat_chunk({"tool_calls": [piece(0, "get_weather", **SPELLINGS["google"])]}))
    other = await next_request(http, items, name="another")
    assert SIGNATURE not in json.dumps(other)


async def test_members_without_a_signature_are_not_kept(http: httpx.AsyncClient) -> None:
    items = await answered(http, chat_chunk({"tool_calls": [piece(0, "get_weather", extra_content={"google": {}})]}))
    assert [item["type"] for item in items] == ["function_call"]
