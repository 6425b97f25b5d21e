"""Steering: a message to a running response is read by its next model turn, or refused; it is never lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
import pytest_asyncio
from openai import AsyncOpenAI
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from api.responses.steer import _refusal
from open_responses.deltas import TextDelta
from open_responses.loop.payloads.names import FINISH
from open_responses.loop.payloads.steering import Steer
from open_responses.loop.steering import MAX_STEERS, MAX_WAITING_STEERS, messages_of
from open_responses.schema.steering import MAX_STEER_BYTES, validate_steer
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.repeated_task import Bench, bench
from tests.support.responses_http import create, ended, is_error
from tests.support.scripts import HOSTED, script
from tests.support.stack import Event, Stack, check_whole, events_of
from tests.support.websocket_client import connected
from workflows.publication import Publication
from workflows.state import ResponseState
from workflows.steering import Steering
from workflows.waiting import Waiting

Json = dict[str, Any]
DRAFT_WORDS, SHORT_WORDS = 6, 2


@pytest_asyncio.fixture
async def loop(stack: Stack) -> AsyncIterator[Bench]:
    async with bench(stack.temporal_address, stack.redis_url) as this:
        yield this


def steer_of(steer_id: str, text: str) -> Steer:
    return Steer(steer_id=steer_id, digest=text, messages=messages_of(validate_steer({"input": text})))


def said(response: Json) -> list[tuple[str, str]]:
    """The role, or the type, of each item, and its text."""
    texts = []
    for item in response["output"]:
        content = item.get("content") or [{}]
        texts.append((item.get("role") or item["type"], content[0].get("text", "").strip()))
    return texts


async def held_draft(client: httpx.AsyncClient, upstream: Upstream, prompt: str, **body: Any) -> tuple[Json, Script]:
    """A background response whose answer waits behind its last word."""
    draft = upstream.says(prompt, Script(words=DRAFT_WORDS, hold_end=True))
    response = await create(client, input=prompt, background=True, **body)
    await asyncio.wait_for(draft.held.wait(), 50)
    return response, draft


async def replayed(client: httpx.AsyncClient, response_id: str) -> list[Event]:
    return [event async for event in events_of(client, resume=(response_id, None))]


async def test_an_answer_that_would_be_the_last_is_followed_by_one_that_has_read_the_message(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    response, draft = await held_draft(client, upstream, "steer a draft")
    url, key = f"/v1/responses/{response['id']}/steer", {"Idempotency-Key": "shorter"}
    upstream.says("make it shorter", Script(words=SHORT_WORDS))
    accepted = await client.post(url, json={"input": "make it shorter"}, headers=key)
    assert accepted.status_code == 200, accepted.text
    assert accepted.json() | {"id": ""} == {
        "object": "response.steer",
        "id": "",
        "previous_response_id": response["id"],
    }
    again = await client.post(url, json={"input": "make it shorter"}, headers=key)
    assert again.json() == accepted.json()
    is_error(await client.post(url, json={"input": "longer"}, headers=key), 409, "idempotency_key_reused")
    # What was accepted is not in Redis.
    await stack.flush()
    draft.released.set()
    final = await ended(client, response["id"])
    assert said(final) == [
        ("assistant", draft.text.strip()),
        ("user", "make it shorter"),
        ("assistant", "w0 w1"),
    ]
    assert final["output"][1]["steer_id"] == accepted.json()["id"]
    assert final["usage"]["output_tokens"] == DRAFT_WORDS + SHORT_WORDS
    live = await replayed(client, response["id"])
    check_whole(live, draft.text + "w0 w1 ")
    await stack.flush()
    assert await replayed(client, response["id"]) == live
    # The same request gets the same answer after the end as well.
    assert (await client.post(url, json={"input": "make it shorter"}, headers=key)).json() == accepted.json()
    is_error(await client.post(url, json={"input": "longer"}, headers=key), 409, "idempotency_key_reused")
    is_error(await client.post(url, json={"input": "too late"}), 409, "response_ended")
    # It is part of what the response said, and not of its input.
    listed = (await client.get(f"/v1/responses/{response['id']}/input_items")).json()["data"]
    assert [item["content"][0]["text"] for item in listed] == ["steer a draft"]
    await create(client, input="go on", previous_response_id=response["id"])
    assert [message["content"].strip() for message in upstream.requests[-1]["messages"]] == [
        "steer a draft",
        draft.text.strip(),
        "make it shorter",
        "w0 w1",
        "go on",
    ]


async def test_a_message_during_a_tool_call_stands_behind_the_tools_output(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    asking = script(upstream, "steer a tool", calls(("a", "get_weather", {"city": "Rome"}), hold_end=True))
    upstream.says("in Fahrenheit, please", Script(words=SHORT_WORDS))
    response = await create(client, input="steer a tool", background=True, tools=HOSTED)
    await asyncio.wait_for(asking.held.wait(), 50)
    parts = [{"type": "input_text", "text": "in Fahrenheit, please"}]
    given = {"input": [{"role": "user", "content": parts}]}
    assert (await client.post(f"/v1/responses/{response['id']}/steer", json=given)).status_code == 200
    asking.released.set()
    final = await ended(client, response["id"])
    assert [name for name, _ in said(final)] == ["function_call", "function_call_output", "user", "assistant"]
    assert final["output"][2]["content"] == parts


@pytest.mark.campaign
async def test_a_message_behind_a_call_of_the_clients_is_read_with_its_output(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    asking = upstream.says("steer a client", calls(("c", "mine", {}), hold_end=True))
    mine = {"type": "function", "name": "mine", "parameters": {"type": "object"}}
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    response = await create(client, input="steer a client", background=True, tools=[mine], conversation=conversation)
    await asyncio.wait_for(asking.held.wait(), 50)
    accepted = await client.post(f"/v1/responses/{response['id']}/steer", json={"input": "and be brief"})
    assert accepted.status_code == 200
    asking.released.set()
    final = await ended(client, response["id"])
    assert (final["status"], [name for name, _ in said(final)]) == ("completed", ["function_call", "user"])
    upstream.says("and be brief", Script(words=SHORT_WORDS))
    output = {"type": "function_call_output", "call_id": final["output"][0]["call_id"], "output": "42"}
    answer = await create(client, input=[output], tools=[mine], conversation=conversation)
    assert answer["status"] == "completed", answer
    roles = [message["role"] for message in upstream.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]
    items = (await client.get(f"/v1/conversations/{conversation}/items", params={"order": "asc"})).json()["data"]
    assert [item.get("role") or item["type"] for item in items] == [
        "user",
        "function_call",
        "user",
        "function_call_output",
        "assistant",
    ]


@pytest.mark.campaign
async def test_more_messages_than_may_wait_are_refused(client: httpx.AsyncClient, upstream: Upstream) -> None:
    response, draft = await held_draft(client, upstream, "steer often")
    url = f"/v1/responses/{response['id']}/steer"
    texts = [f"message {number}" for number in range(MAX_WAITING_STEERS)]
    answers = await asyncio.gather(*(client.post(url, json={"input": text}) for text in texts))
    assert {answer.status_code for answer in answers} == {200}
    refused = await client.post(url, json={"input": "one too many"})
    is_error(refused, 429, "too_many_pending_steers")
    assert refused.headers["retry-after"]
    draft.released.set()
    final = await ended(client, response["id"])
    assert sorted(text for role, text in said(final) if role == "user") == texts


@pytest.mark.campaign
async def test_an_accepted_message_that_no_turn_has_read_is_not_in_the_output(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    response, draft = await held_draft(client, upstream, "steer and cancel")
    url = f"/v1/responses/{response['id']}"
    assert (await client.post(f"{url}/steer", json={"input": "never read"})).status_code == 200
    cancelled = (await client.post(f"{url}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    assert "user" not in [role for role, _ in said(cancelled)]
    draft.released.set()


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "input"),
        ({"input": ""}, "invalid_value", "input"),
        ({"input": []}, "invalid_value", "input"),
        ({"input": 5}, "invalid_type", "input"),
        ({"input": "x", "model": "fake"}, "unknown_parameter", "model"),
        ({"input": [{"role": "assistant", "content": "x"}]}, "invalid_value", "input[0]"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, "invalid_value", "input[0]"),
        ({"input": [{"role": "user", "content": "x"}] * 21}, "invalid_value", "input"),
    ],
)
async def test_a_message_of_another_form_is_refused(
    client: httpx.AsyncClient, body: Json, code: str, param: str
) -> None:
    is_error(await client.post("/v1/responses/resp_x/steer", json=body), 400, code, param)


async def test_a_response_that_has_ended_takes_no_message(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("too early to steer", Script(words=1))
    completed = await create(client, input="too early to steer")
    cancelled, draft = await held_draft(client, upstream, "cancelled before it is steered")
    assert (await client.post(f"/v1/responses/{cancelled['id']}/cancel")).json()["status"] == "cancelled"
    draft.released.set()
    for _ in range(2):
        for response_id in (completed["id"], cancelled["id"]):
            answer = await client.post(f"/v1/responses/{response_id}/steer", json={"input": "wait"})
            is_error(answer, 409, "response_ended")
        await stack.flush()
    assert (await client.get(f"/v1/responses/{completed['id']}")).json() == completed


async def test_a_message_that_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    body = {"input": "x" * MAX_STEER_BYTES}
    is_error(await client.post("/v1/responses/resp_x/steer", json=body), 413, "request_too_large")


@pytest.mark.campaign
async def test_an_accepted_message_outlives_the_worker_and_redis(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    response, draft = await held_draft(client, upstream, "steer and kill")
    upstream.says("after the kill", Script(words=SHORT_WORDS))
    url = f"/v1/responses/{response['id']}/steer"
    assert (await client.post(url, json={"input": "after the kill"})).status_code == 200
    await stack.kill(await stack.busy_worker())
    draft.released.set()
    await stack.heal()
    await stack.flush()
    final = await ended(client, response["id"])
    assert [role for role, _ in said(final)] == ["assistant", "user", "assistant"]
    check_whole(await replayed(client, response["id"]), f"{draft.text}w0 w1 ")


# --- over the WebSocket


@pytest.mark.campaign
async def test_openais_client_steers_a_response_that_is_not_stored(stack: Stack, upstream: Upstream) -> None:
    draft = upstream.says("steer over a socket", Script(words=DRAFT_WORDS, hold_end=True))
    upstream.says("shorter, over a socket", Script(words=SHORT_WORDS))
    sdk = AsyncOpenAI(base_url=f"{stack.api_url}/openai/v1", api_key="none")
    seen: list[Any] = []
    async with sdk.responses.connect() as connection:
        await connection.response.create(model="fake", input="steer over a socket", store=False)
        async for event in connection:
            seen.append(event)
            if event.type == "response.created":
                await asyncio.wait_for(draft.held.wait(), 50)
                await connection.response.steer(input="shorter, over a socket", previous_response_id=event.response.id)
            if event.type == "response.steer.accepted":
                assert event.steer.previous_response_id == seen[0].response.id
                draft.released.set()
            if event.type == "response.completed":
                break
        final = seen[-1].response
        assert [item.role for item in final.output] == ["assistant", "user", "assistant"]
        assert final.output[1].steer_id == next(e.steer.id for e in seen if e.type == "response.steer.accepted")
        assert final.output_text.split() == [*draft.text.split(), "w0", "w1"]
        await connection.response.steer(input="too late", previous_response_id="resp_" + "0" * 48)
        async for event in connection:
            assert event.type == "response.steer.failed"
            assert (event.error.code, event.steer.input) == ("response_not_found", "too late")
            break


@pytest.mark.campaign
async def test_a_socket_gives_back_what_no_turn_has_read(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    draft = upstream.says("steer and lose", Script(words=DRAFT_WORDS, hold_end=True))
    async with connected(stack.api_url) as socket:
        await socket.ask(input="steer and lose")
        response_id = (await socket.hear())["response"]["id"]
        await asyncio.wait_for(draft.held.wait(), 50)
        await socket.say({"type": "response.steer", "previous_response_id": response_id, "input": "never read"})
        heard: list[Json] = []
        while not heard or heard[-1]["type"] != "response.steer.failed":
            heard.append(await socket.hear_any())
            if heard[-1]["type"] == "response.steer.accepted":
                await client.post(f"/v1/responses/{response_id}/cancel")
        accepted = next(event for event in heard if event["type"] == "response.steer.accepted")
        assert heard[-1]["steer"] == {
            "id": accepted["steer"]["id"],
            "previous_response_id": response_id,
            "input": "never read",
        }
        assert heard[-2]["response"]["status"] == "cancelled"
        for wrong in ({"input": "x", "model": "fake"}, {"input": "x", "previous_response_id": 1}, {}):
            await socket.say({"type": "response.steer", **wrong})
            failed = await socket.hear_any()
            assert (failed["type"], failed["error"]["code"]) == ("response.steer.failed", "invalid_input")
        # A request that mentions it is a request.
        answer = await socket.answer(input='say "response.steer"')
        assert answer["status"] == "completed"


# --- the workflow, by itself


@pytest.mark.campaign
async def test_a_message_in_the_last_turn_is_refused(loop: Bench) -> None:
    loop.turns = [[TextDelta("hello")]]
    running, refused = None, list[BaseException]()

    async def steer() -> None:
        assert running is not None
        try:
            await running.handle.execute_update("steer", steer_of("steer_late", "more"))
        except WorkflowUpdateFailedError as error:
            refused.append(error)

    is_free = asyncio.Event()

    async def hold() -> None:
        await is_free.wait()

    loop.before_result = hold
    running = await loop.start({}, max_turns=1)
    await steer()
    is_free.set()
    finished = await running.result()
    assert len(finished.response["output"]) == 1
    (error,) = refused
    assert isinstance(error, WorkflowUpdateFailedError)
    assert isinstance(error.cause, ApplicationError)
    assert error.cause.type == "no_turn_left"


@pytest.mark.campaign
async def test_a_message_behind_the_announced_end_is_refused_and_changes_nothing(loop: Bench) -> None:
    loop.turns = [[TextDelta("hello")], [TextDelta("more")]]
    running = None
    steering: list[asyncio.Task[Any]] = []

    async def steer() -> None:
        assert running is not None
        update = running.handle.execute_update("steer", steer_of("steer_late", "more"))
        steering.append(asyncio.create_task(update))
        # Temporal has it, and hands it to the repeated task.
        await asyncio.sleep(0.5)

    loop.repetition.behind(FINISH, steer)
    running = await loop.start({})
    finished = await running.result()
    assert loop.repetition.times == 1
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await steering[0]
    assert isinstance(refused.value.cause, ApplicationError)
    assert refused.value.cause.type == "response_ended"
    assert said(finished.response) == [("assistant", "hello")]
    assert (await running.log())[-1]["response"] == finished.response == await running.stored()


def refusal_of(state: Json, steer: Steer) -> str | None:
    """The code with which a workflow in this state refuses the messages."""
    start = SimpleNamespace(is_compaction=False, max_turns=100)
    nothing = {"turn": 1, "fallback": 0, "steers": [], "steered": {}, "is_stopping": lambda: False}
    given = {"start": start, **nothing, **state}
    steering = Steering(cast(ResponseState, SimpleNamespace(**given)), cast(Publication, None), cast(Waiting, None))
    try:
        steering.check(steer)
    except ApplicationError as error:
        return error.type
    return None


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ({}, None),
        ({"is_stopping": lambda: True}, "response_ended"),
        ({"turn": 100}, "no_turn_left"),
        ({"steered": {"steer_new": "text"}, "turn": 100}, None),
        ({"steered": {"steer_new": "other"}}, "idempotency_key_reused"),
        ({"steered": {str(number): "" for number in range(MAX_STEERS)}}, "too_many_steers"),
        ({"start": SimpleNamespace(is_compaction=True)}, "steering_not_supported"),
    ],
)
def test_each_refusal_has_its_code_and_is_told(state: Json, code: str | None) -> None:
    refused = refusal_of(state, steer_of("steer_new", "text"))
    assert refused == code
    if refused is not None:
        told = _refusal(refused)
        assert (told.error_code, told.status) == (code, 409)


def test_a_worker_that_knows_no_steering_is_a_conflict() -> None:
    assert _refusal(None).error_code == "steering_not_supported"
