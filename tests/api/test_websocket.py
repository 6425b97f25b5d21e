"""The Responses API over a WebSocket: a real client, a real socket, the real parts behind it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.bad_bodies import BAD_BODIES, body
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import create, is_error
from tests.support.stack import Stack, another_api, check_whole
from tests.support.websocket_client import _TERMINAL, ADD, Client, connected, sent

# --- turns


async def test_a_turn_streams_the_events_of_the_http_api(
    ws: Client, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("over a socket", Script(words=8))
    await ws.ask(input="over a socket", metadata={"a": "b"})
    heard: list[str] = []
    while not heard or json.loads(heard[-1])["type"] not in _TERMINAL:
        heard.append(str(await asyncio.wait_for(ws.connection.recv(), 50)))
    events = [json.loads(event) for event in heard]
    response = check_whole(events, script.text)
    assert response["metadata"] == {"a": "b"}
    found = await client.get(f"/v1/responses/{response['id']}", params={"stream": "true"})
    lines = [line.removeprefix("data: ") for line in found.text.splitlines() if line.startswith("data: ")]
    assert lines == [*heard, "[DONE]"]


async def test_clients_of_openais_protocol_may_say_that_they_stream(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("streams in any case", Script(words=3))
    async with connected(stack.api_url, {"OpenAI-Beta": "responses_websockets=2026-02-06"}) as client:
        await client.ask(input="streams in any case", stream=True)
        check_whole([event async for event in client.events()], script.text)
        await client.ask(input="streams in any case", stream=False)
        await client.is_refused(400, "unsupported_parameter", "stream")


async def test_turns_run_one_after_the_other_in_the_order_in_which_they_came(ws: Client, upstream: Upstream) -> None:
    first = upstream.says("first of three", Script(words=5, hold_after=2))
    for name in ("first", "second", "third"):
        upstream.says(f"{name} of three", first if name == "first" else Script(words=3))
        await ws.ask(input=f"{name} of three", metadata={"name": name})
    await asyncio.wait_for(first.held.wait(), 50)
    assert "second of three" not in [m[1] for m in sent(upstream)]
    first.released.set()
    for name, words in (("first", 5), ("second", 3), ("third", 3)):
        events = [event async for event in ws.events()]
        response = check_whole(events, "".join(f"w{i} " for i in range(words)))
        assert response["metadata"] == {"name": name}


async def test_more_turns_than_can_wait_are_refused_and_the_others_run(ws: Client, upstream: Upstream) -> None:
    script = upstream.says("keeps them waiting", Script(words=2, hold_after=1))
    await ws.ask(input="keeps them waiting")
    await asyncio.wait_for(script.held.wait(), 50)
    for _ in range(18):
        await ws.ask(input="one more")
    refused = 0
    while refused < 2:
        heard = await ws.hear()
        if heard["type"] == "error":
            assert (heard["status"], heard["error"]["code"]) == (429, "websocket_queue_full")
            refused += 1
    script.released.set()
    ended = 0
    while ended < 17:
        heard = await ws.hear()
        assert heard["type"] != "error"
        ended += heard["type"] == "response.completed"


# --- warm-ups


async def test_a_warm_up_answers_at_once_with_an_empty_output(
    ws: Client, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    asked_before = len(upstream.requests)
    events = await ws.turn(input="warm", instructions="be warm", tools=[ADD], generate=False)
    assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.completed"]
    response = check_whole(events, "")
    assert (response["output"], response["usage"]["total_tokens"]) == ([], 0)
    assert (response["instructions"], response["store"]) == ("be warm", False)
    assert len(upstream.requests) == asked_before
    is_error(await client.get(f"/v1/responses/{response['id']}"), 404, "not_found")


async def test_a_turn_goes_on_from_a_warm_up_with_and_without_more_input(
    ws: Client, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    warm = await ws.answer(input="warm one", generate=False)
    first = await ws.answer(input=[], previous_response_id=warm["id"])
    assert sent(upstream) == [("user", "warm one")]
    assert first["previous_response_id"] == warm["id"]
    warm = await ws.answer(input="warm two", generate=False, previous_response_id=first["id"])
    warm = await ws.answer(input="warm three", generate=False, previous_response_id=warm["id"])
    second = await ws.answer(input="cold", previous_response_id=warm["id"])
    # The adapter joins what the user says in a row.
    prompts = ["warm one", "warm two\n\nwarm three\n\ncold"]
    assert [content for role, content in sent(upstream) if role == "user"] == prompts
    await create(client, input="over http", previous_response_id=second["id"])
    assert [content for role, content in sent(upstream) if role == "user"] == [*prompts, "over http"]


async def test_the_outputs_of_calls_may_come_with_a_warm_up(ws: Client, upstream: Upstream) -> None:
    call = calls(("call_w", "sum_up", {}))
    call.turns = [Script(words=1)]
    upstream.says("warm call", call)
    first = await ws.answer(input="warm call", tools=[ADD])
    output = {"type": "function_call_output", "call_id": "call_w", "output": "4"}
    warm = await ws.answer(input=[output], tools=[ADD], generate=False, previous_response_id=first["id"])
    await ws.answer(tools=[ADD], previous_response_id=warm["id"])
    assert [role for role, _ in sent(upstream)] == ["user", "assistant", "tool"]


async def test_a_warm_up_needs_no_input_and_a_turn_does(ws: Client, upstream: Upstream) -> None:
    warm = await ws.answer(instructions="be warm", generate=False)
    await ws.answer(input="now", store=False, previous_response_id=warm["id"])
    assert sent(upstream) == [("user", "now")]
    warm = await ws.answer(instructions="be warm", generate=False)
    await ws.ask(input=[], previous_response_id=warm["id"])
    await ws.is_refused(400, "invalid_value", "input")


# --- bad messages


CREATE = {"type": "response.create", "model": "fake", "input": "hi"}
BAD_MESSAGES: list[tuple[Any, int, str, str | None]] = [
    ("", 400, "invalid_json", None),
    ("{", 400, "invalid_json", None),
    ("hello", 400, "invalid_json", None),
    ("[]", 400, "invalid_json", None),
    ("null", 400, "invalid_json", None),
    ('"response.create"', 400, "invalid_json", None),
    ('{"type": "response.create", "input": "\\ud800"}', 400, "invalid_json", None),
    ("[" * 5000, 400, "invalid_json", None),
    ('{"type": "response.create", "temperature": 1e999}', 400, "invalid_value", "temperature"),
    (b"\x00\x01", 400, "invalid_json", None),
    (json.dumps(CREATE).encode(), 400, "invalid_json", None),
    ({}, 400, "missing_required_parameter", "type"),
    ({"model": "fake", "input": "hi"}, 400, "missing_required_parameter", "type"),
    ({**CREATE, "type": None}, 400, "missing_required_parameter", "type"),
    ({**CREATE, "type": "response.inject"}, 400, "invalid_value", "type"),
    ({**CREATE, "type": "response.cancel"}, 400, "invalid_value", "type"),
    ({**CREATE, "type": "session.update"}, 400, "invalid_value", "type"),
    ({**CREATE, "type": "RESPONSE.CREATE"}, 400, "invalid_value", "type"),
    ({**CREATE, "type": "x" * 100_000}, 400, "invalid_value", "type"),
    ({**CREATE, "type": 1}, 400, "invalid_value", "type"),
    ({**CREATE, "type": ["response.create"]}, 400, "invalid_value", "type"),
    ({**CREATE, "stream": True}, 400, "unsupported_parameter", "stream"),
    ({**CREATE, "stream": False}, 400, "unsupported_parameter", "stream"),
    ({**CREATE, "stream_options": {"include_obfuscation": False}}, 400, "unsupported_parameter", "stream_options"),
    ({**CREATE, "stream_options": {}}, 400, "unsupported_parameter", "stream_options"),
    ({**CREATE, "background": True}, 400, "unsupported_parameter", "background"),
    ({**CREATE, "background": False}, 400, "unsupported_parameter", "background"),
    ({**CREATE, "stream_id": "lane"}, 400, "unsupported_parameter", "stream_id"),
    ({**CREATE, "generate": "no"}, 400, "invalid_type", "generate"),
    ({**CREATE, "generate": 0}, 400, "invalid_type", "generate"),
    ({"type": "response.create"}, 400, "missing_required_parameter", "model"),
    ({"type": "response.create", "response": {"model": "fake", "input": "hi"}}, 400, "unknown_parameter", "response"),
    ({**CREATE, "event_id": "e"}, 400, "unknown_parameter", "event_id"),
    ({**CREATE, "input": []}, 400, "invalid_value", "input"),
    ({**CREATE, "model": "nobody"}, 404, "model_not_found", "model"),
    ({**CREATE, "model": "nobody", "generate": False}, 404, "model_not_found", "model"),
    ({**CREATE, "max_output_tokens": 1, "generate": False}, 400, "invalid_value", "max_output_tokens"),
    ({**CREATE, "model": "keyed"}, 400, "provider_key_missing", "api_key"),
    ({**CREATE, "api_key": 7}, 400, "invalid_value", "api_key"),
    ({**CREATE, "previous_response_id": "resp_x"}, 400, "previous_response_not_found", "previous_response_id"),
    ({**CREATE, "previous_response_id": ["x"]}, 400, "invalid_type", "previous_response_id"),
    ({**CREATE, "previous_response_id": "", "store": False}, 400, "previous_response_not_found", None),
    ({**CREATE, "prompt_cache_options": {"prewarm": True}}, 400, "unsupported_parameter", None),
    ({**CREATE, "input": "x" * 1_100_000}, 413, "request_too_large", None),
    ("x" * 1_100_000, 413, "request_too_large", None),
    (
        {
            **CREATE,
            "generate": False,
            "input": [{"type": "mcp_approval_response", "approval_request_id": "mcpr_" + "0" * 48, "approve": True}],
        },
        400,
        "invalid_value",
        "input[0]",
    ),
]


async def test_bad_messages_get_an_envelope_and_the_socket_stays_usable(ws: Client) -> None:
    assert len(BAD_MESSAGES) >= 40
    for message, status, code, param in BAD_MESSAGES:
        await ws.say(message)
        error = await ws.is_refused(status, code, param)
        assert len(error["message"]) < 1000
    await ws.answer(input="still here")


async def test_a_message_beyond_what_uvicorn_reads_closes_the_socket(ws: Client) -> None:
    with contextlib.suppress(ConnectionClosed):
        await ws.say("x" * (64 * 1024 * 1024 + 1))
    assert await ws.closed_with() == 1009


async def test_bad_bodies_are_refused_over_a_socket_as_over_http(ws: Client) -> None:
    for changes, code, param in BAD_BODIES:
        if "generate" in changes:
            continue  # a socket's own
        message = json.dumps({"type": "response.create", **body(**changes)})
        status = 400
        not_here = next((name for name in ("stream", "stream_options", "background") if name in changes), None)
        if not_here is not None:
            code, param = "unsupported_parameter", not_here
        if len(message) > 1_000_000:
            status, code, param = 413, "request_too_large", None
        await ws.say(message)
        await ws.is_refused(status, code, param)
    await ws.answer(input="still here")


async def test_a_refused_turn_does_not_hold_up_the_next_one(ws: Client) -> None:
    await ws.ask(input="hello", temperature=9)
    await ws.ask(input="hello")
    await ws.is_refused(400, "invalid_value", "temperature")
    check_whole([event async for event in ws.events()], Script().text)


# --- handshakes and keys


async def test_a_handshake_needs_a_good_key_and_each_turn_keeps_to_its_limits(
    stack: Stack, client: httpx.AsyncClient
) -> None:
    key = "sk-of-a-socket"
    digest = hashlib.sha256(key.encode()).hexdigest()
    keys = f'[[api_keys]]\ntenant = "acme"\nsha256 = "{digest}"\nrequests_per_minute = 2\nmax_concurrent = 1'
    async with another_api(stack, tail=keys) as api:
        url = str(api.base_url).rstrip("/")
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": key}):
            with pytest.raises(InvalidStatus) as refused:
                async with connected(url, headers):
                    pass
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body or b"")["error"]["code"] == "invalid_api_key"
        async with connected(url, {"Authorization": f"Bearer {key}"}) as ws:
            await ws.answer(input="a request, which takes no place", generate=False)
            response = await ws.answer(input="hello")
            await ws.ask(input="hello")
            error = await ws.is_refused(429, "rate_limit_exceeded")
            assert int(error["headers"]["retry-after"]) > 0
        assert (await api.get(f"/v1/responses/{response['id']}")).status_code == 401
    is_error(await client.get(f"/v1/responses/{response['id']}"), 404, "not_found")


async def test_a_foreign_page_cannot_open_a_socket(stack: Stack) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with connected(stack.api_url, origin="https://evil.example"):
            pass
    assert refused.value.response.status_code == 403
    async with connected(stack.api_url, origin=stack.api_url) as ws:
        await ws.answer(input="hello")


async def test_a_providers_key_comes_with_the_handshake_or_with_a_turn(stack: Stack, upstream: Upstream) -> None:
    async with connected(stack.api_url, {"X-Provider-Api-Key": "sk-handshake"}) as ws:
        await ws.answer(model="keyed", input="hello")
        assert "Bearer sk-handshake" in upstream.heads[-1]
        events = await ws.turn(model="keyed", input="hello", api_key="sk-turn")
        assert "Bearer sk-turn" in upstream.heads[-1]
        assert "sk-" not in str(events)


async def test_the_openai_sdk_talks_over_its_own_socket(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("sdk over a socket", Script(words=5))
    async with (
        AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0) as openai,
        openai.responses.connect() as connection,
    ):
        await connection.response.create(model="fake", input="sdk over a socket", store=False)
        text, last = "", None
        async for event in connection:
            if event.type == "response.output_text.delta":
                text += event.delta
            elif event.type == "response.completed":
                last = event.response
                break
        assert last is not None
        assert text == last.output_text == script.text
        await connection.response.create(
            model="fake", input="more", store=False, previous_response_id="resp_of_another"
        )
        error: Any = await connection.recv()
        assert (error.type, error.status, error.error.code) == ("error", 400, "previous_response_not_found")
        await connection.response.create(model="fake", input="more", store=False, previous_response_id=last.id)
        async for event in connection:
            if event.type == "response.completed":
                break
    assert sent(upstream)[-1] == ("user", "more")
    assert len(sent(upstream)) == 3


async def test_a_ping_is_answered_while_a_response_streams(ws: Client, upstream: Upstream) -> None:
    script = upstream.says("ping", Script(words=3, hold_after=1))
    await ws.ask(input="ping")
    await asyncio.wait_for(script.held.wait(), 50)
    pong = await ws.connection.ping()
    await asyncio.wait_for(pong, 50)
    script.released.set()
    check_whole([event async for event in ws.events()], script.text)
