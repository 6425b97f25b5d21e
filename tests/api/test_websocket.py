"""The Responses API over a WebSocket: a real client, a real socket, the real parts behind it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import signal
import socket as sockets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus

from open_responses.context.compaction import compaction_item, owner
from open_responses.io.sealing import load_sealer
from tests.support.bad_bodies import BAD_BODIES, body
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.responses_http import create, is_error
from tests.support.stack import Event, Stack, another_api, check_whole, events_of, http_client, until
from tests.support.websocket_client import _TERMINAL, Client, connected

ADD = {"type": "function", "name": "sum_up", "parameters": {"type": "object"}}


@pytest_asyncio.fixture
async def ws(stack: Stack) -> AsyncIterator[Client]:
    async with connected(stack.api_url) as client:
        yield client


def sent(upstream: Upstream) -> list[tuple[str, Any]]:
    """What the model was last shown."""
    return [(message["role"], message["content"]) for message in upstream.requests[-1]["messages"]]


async def true(condition: bool) -> bool:
    return condition


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


# --- what a socket remembers


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


# --- when something ends or dies


async def test_a_socket_that_breaks_leaves_what_is_stored_running_and_cancels_the_rest(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    stored = upstream.says("breaks, stored", Script(words=10, hold_after=3))
    lost = upstream.says("breaks, not stored", Script(words=10, hold_after=3))
    async with connected(stack.api_url) as ws, connected(stack.api_url) as other:
        await ws.ask(input="breaks, stored")
        await other.ask(input="breaks, not stored", store=False)
        events = [await ws.hear() for _ in range(3)]
        await asyncio.wait_for(lost.held.wait(), 50)
        await asyncio.wait_for(stored.held.wait(), 50)
        ws.connection.transport.abort()
        other.connection.transport.abort()
    await asyncio.wait_for(lost.gone.wait(), 50)
    assert not stored.gone.is_set()
    stored.released.set()
    rest = [event async for event in events_of(client, resume=(events[0]["response"]["id"], 2))]
    check_whole(events + rest, stored.text)


async def test_a_worker_that_dies_leaves_no_gap_on_the_socket(ws: Client, stack: Stack, upstream: Upstream) -> None:
    for prompt in ("before the kill", "killed on the socket"):
        upstream.says(prompt, Script(words=60, gap=0.02))
    first = await ws.answer(input="before the kill", store=False)
    await ws.ask(input="killed on the socket", store=False, previous_response_id=first["id"])
    events: list[Event] = []
    async for event in ws.events():
        events.append(event)
        if len(events) == 15:
            await stack.kill_seen(await stack.busy_worker())
    check_whole(events, upstream.script_of("killed on the socket").text)
    assert [content for role, content in sent(upstream) if role == "user"] == [
        "before the kill",
        "killed on the socket",
    ]


@pytest.mark.campaign
async def test_what_a_socket_remembered_survives_a_dead_worker_and_an_empty_redis(
    ws: Client, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("flushed on the socket", Script(words=10, hold_after=0))
    upstream.says("before the flush", Script(words=1))
    first = await ws.answer(input="before the flush", store=False)
    await ws.ask(input="flushed on the socket", store=False, previous_response_id=first["id"])
    await asyncio.wait_for(script.held.wait(), 50)
    await stack.kill(await stack.busy_worker())
    await stack.flush()
    script.released.set()
    check_whole([event async for event in ws.events()], script.text)
    assert [content for _, content in sent(upstream)] == ["before the flush", "w0 ", "flushed on the socket"]


@pytest.mark.campaign
async def test_the_api_may_die_and_the_client_goes_on_over_http(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("the api dies", Script(words=40, gap=0.02))
    events: list[Event] = []
    async with connected(stack.api_url) as ws:
        await ws.ask(input="the api dies")
        with contextlib.suppress(ConnectionClosed):
            async for event in ws.events():
                events.append(event)
                if len(events) == 10:
                    await stack.kill("api")
    assert events[-1]["type"] not in _TERMINAL
    await stack.heal()
    async with http_client(stack.api_url) as client:
        last = events[-1]["sequence_number"]
        rest = [event async for event in events_of(client, resume=(events[0]["response"]["id"], last))]
    check_whole(events + rest, script.text)


@pytest.mark.campaign
async def test_an_api_that_shuts_down_says_so_at_once(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("the api leaves", Script(words=5, hold_after=2))
    async with connected(stack.api_url) as ws, connected(stack.api_url) as idle:
        await ws.ask(input="the api leaves")
        await asyncio.wait_for(script.held.wait(), 50)
        events = [await ws.hear() for _ in range(3)]
        stack.signal("api", signal.SIGTERM)
        for leaving in (ws, idle):
            assert await leaving.closed_with() == 1012
        await until(lambda: true(stack.processes["api"].poll() is not None), 5)
    await stack.heal()
    script.released.set()
    async with http_client(stack.api_url) as client:
        rest = [event async for event in events_of(client, resume=(events[0]["response"]["id"], 2))]
    check_whole(events + rest, script.text)


@pytest.mark.campaign
async def test_a_connection_ends_after_its_time_and_its_stored_response_goes_on(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stack.env, "OPEN_RESPONSES_SOCKET_SECONDS", "3")
    stored = upstream.says("outlives its socket", Script(words=10, hold_after=3))
    lost = upstream.says("ends with its socket", Script(words=10, hold_after=3))
    async with another_api(stack) as api:
        url = str(api.base_url).rstrip("/")
        async with connected(url) as ws, connected(url) as other, connected(url) as idle:
            await ws.ask(input="outlives its socket")
            await other.ask(input="ends with its socket", store=False)
            events = []
            while (heard := await ws.hear())["type"] != "error":
                events.append(heard)
            error = heard["error"]
            assert (heard["status"], error["code"]) == (400, "websocket_connection_limit_reached")
            response_id, last = events[0]["response"]["id"], events[-1]["sequence_number"]
            assert f"GET /v1/responses/{response_id}?stream=true&starting_after={last}" in error["message"]
            while (heard := await other.hear())["type"] != "error":
                pass
            assert "is cancelled" in heard["error"]["message"]
            error = await idle.is_refused(400, "websocket_connection_limit_reached")
            assert error["message"].endswith("Create a new websocket connection to continue.")
            for ended in (ws, other, idle):
                assert await ended.closed_with() == 1000
    await asyncio.wait_for(lost.gone.wait(), 50)
    stored.released.set()
    rest = [event async for event in events_of(client, resume=(response_id, last))]
    check_whole(events + rest, stored.text)


@pytest.mark.campaign
async def test_a_client_that_reads_nothing_is_dropped_and_its_stored_response_goes_on(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stack.env, "OPEN_RESPONSES_SOCKET_SEND_SECONDS", "2")
    # The answer comes five times: in deltas, and whole in the four events at its end.
    script = upstream.says("much to read", Script(literal=("x" * 49_999 + " ") * 50))
    async with another_api(stack) as api:
        port = api.base_url.port
        assert port is not None
        raw = sockets.socket()
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", port))
        raw.setblocking(False)
        url = str(api.base_url).rstrip("/")
        async with connected(url, sock=raw, compression=None, max_queue=1, ping_interval=None) as ws:
            await ws.ask(input="much to read")
            heard = [await ws.hear()]
            response_id = heard[0]["response"]["id"]
            ws.connection.transport.pause_reading()

            async def is_dropped() -> bool:
                return not await _connections(port, raw.getsockname()[1])

            async def is_whole() -> bool:
                return bool((await client.get(f"/v1/responses/{response_id}")).json()["status"] == "completed")

            async with connected(url) as other:
                await other.answer(input="hello")
            await until(is_whole, 30)
            await until(is_dropped, 30)
    rest = [event async for event in events_of(client, resume=(response_id, heard[-1]["sequence_number"]))]
    check_whole([*heard, *rest], script.text)


async def _connections(server_port: int, client_port: int) -> bool:
    """Whether the server's end of a connection is still open, as the kernel sees it."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        ports = (int(local.split(":")[1], 16), int(remote.split(":")[1], 16))
        if ports == (server_port, client_port) and state == "01":
            return True
    return False
