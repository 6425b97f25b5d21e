"""Conversations, as OpenAI has them: kept by Temporal, one response at a time."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from openai import AsyncOpenAI, ConflictError, NotFoundError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from api.idempotency import idempotency_key
from open_responses.context.compaction import ORDER
from open_responses.conversations.payloads import ConversationState, Entry, ResponseEnd, TakeLock
from open_responses.conversations.snapshot import remembered
from open_responses.conversations.state import (
    ALREADY_ENDED,
    BUSY,
    CHANGED,
    FULL,
    MAX_CONVERSATION_ITEMS,
    Conversation,
    Refused,
)
from open_responses.ids import is_id, new_id
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.temporal.client import TENANT
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.loop.payloads.finish import Progress
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.mcp_token import TOKEN
from tests.support.responses_http import is_error
from tests.support.stack import Stack, check_whole, collect, events_of, until
from tests.support.websocket_client import connected
from workflows.conversation import ConversationWorkflow

Json = dict[str, Any]
HOSTED = [{"type": "open_responses:hosted_tools"}]
MINE = [{"type": "function", "name": "mine", "parameters": {"type": "object", "properties": {}}}]


def user(text: str) -> Json:
    return {"role": "user", "content": text}


async def new(client: httpx.AsyncClient, *items: Json, **body: Any) -> str:
    answer = await client.post("/v1/conversations", json={"items": list(items), **body})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


async def ask(client: httpx.AsyncClient, conversation: str, prompt: Any, **body: Any) -> httpx.Response:
    return await client.post(
        "/v1/responses", json={"model": "fake", "input": prompt, "conversation": conversation, **body}
    )


async def respond(client: httpx.AsyncClient, conversation: str, prompt: Any, **body: Any) -> Json:
    answer = await ask(client, conversation, prompt, **body)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def page_of(client: httpx.AsyncClient, conversation: str, params: dict[str, str]) -> Json:
    """One page of items. It is asked for again while no worker answers: a worker that a test has killed takes a while
    to start."""
    answers: list[httpx.Response] = []

    async def is_answered() -> bool:
        answers.append(await client.get(f"/v1/conversations/{conversation}/items", params=params))
        return answers[-1].status_code != 503

    await until(is_answered, 60)
    assert answers[-1].status_code == 200, answers[-1].text
    page: Json = answers[-1].json()
    return page


async def items_of(client: httpx.AsyncClient, conversation: str) -> list[Json]:
    """All items, oldest first."""
    items: list[Json] = []
    while True:
        after = {"after": items[-1]["id"]} if items else {}
        page = await page_of(client, conversation, {"order": "asc", "limit": "100", **after})
        items += page["data"]
        if not page["has_more"]:
            return items


def texts(items: list[Json]) -> list[str]:
    return ["".join(part.get("text", "") for part in item.get("content", [])) for item in items]


def shown(upstream: Upstream) -> list[str]:
    """What the model was last shown."""
    return [message["content"] for message in upstream.requests[-1]["messages"]]


async def connect(stack: Stack) -> Client:
    return await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)


async def start(temporal: Client, conversation: str, **settings: Any) -> None:
    """A conversation with other settings than the API gives it."""
    await temporal.start_workflow(
        ConversationWorkflow.run,
        ConversationState(conversation_id=conversation, tenant="default", created_at=1, **settings),
        id=conversation,
        task_queue=TASK_QUEUE,
        search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, "default")]),
    )


async def is_forgotten(temporal: Client, workflow_id: str, run_id: str | None = None) -> bool:
    try:
        await temporal.get_workflow_handle(workflow_id, run_id=run_id).describe()
    except RPCError as error:
        return error.status == RPCStatusCode.NOT_FOUND
    return False


# --- the endpoints


async def test_the_openai_sdk_keeps_conversations(stack: Stack) -> None:
    async with AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none") as openai:
        made = await openai.conversations.create(
            metadata={"topic": "rivers"}, items=[{"type": "message", "role": "user", "content": "Hello"}]
        )
        assert is_id("conv_", made.id)
        assert (made.object, made.metadata) == ("conversation", {"topic": "rivers"})
        assert abs(made.created_at - time.time()) < 60
        assert await openai.conversations.retrieve(made.id) == made
        changed = await openai.conversations.update(made.id, metadata={"topic": "lakes"})
        assert changed.metadata == {"topic": "lakes"}

        added = await openai.conversations.items.create(
            made.id,
            items=[
                {"type": "message", "role": "assistant", "content": "Hi there"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And?"}]},
            ],
            include=["message.output_text.logprobs"],
        )
        assert (added.object, added.has_more, added.first_id) == ("list", False, added.data[0].id)
        listed = [item async for item in await openai.conversations.items.list(made.id, limit=2, order="asc")]
        assert [item.type for item in listed] == ["message"] * 3
        assert [item.id for item in listed][1:] == [item.id for item in added.data]
        one = await openai.conversations.items.retrieve(added.data[0].id, conversation_id=made.id)
        assert one.model_dump() == added.data[0].model_dump()
        assert (one.type, one.role, one.status) == ("message", "assistant", "completed")  # type: ignore[union-attr]
        left = await openai.conversations.items.delete(added.data[0].id, conversation_id=made.id)
        assert left == changed
        with pytest.raises(NotFoundError):
            await openai.conversations.items.retrieve(added.data[0].id, conversation_id=made.id)

        deleted = await openai.conversations.delete(made.id)
        assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "conversation.deleted", True)
        with pytest.raises(NotFoundError):
            await openai.conversations.retrieve(made.id)


async def test_the_openai_sdk_answers_in_a_conversation(stack: Stack, upstream: Upstream) -> None:
    first = upstream.says("sdk in a conversation", Script(words=5))
    second = upstream.says("sdk streams in it", Script(words=6))
    async with AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none") as openai:
        conversation = await openai.conversations.create()
        response = await openai.responses.create(
            model="fake", input="sdk in a conversation", conversation=conversation.id
        )
        assert response.conversation is not None
        assert (response.conversation.id, response.output_text) == (conversation.id, first.text)
        async with openai.responses.stream(
            model="fake", input="sdk streams in it", conversation={"id": conversation.id}
        ) as stream:
            final = await stream.get_final_response()
        assert final.output_text == second.text
        listed = [item async for item in await openai.conversations.items.list(conversation.id)]
        assert [item.type for item in listed] == ["message"] * 4
        assert listed[0].id == final.output[0].id


async def test_sixty_items_come_in_pages(client: httpx.AsyncClient) -> None:
    conversation = await new(client, *(user(f"item {i}") for i in range(20)))
    for begin in (20, 40):
        more = {"items": [user(f"item {i}") for i in range(begin, begin + 20)]}
        assert (await client.post(f"/v1/conversations/{conversation}/items", json=more)).status_code == 200
    path = f"/v1/conversations/{conversation}/items"
    newest = (await client.get(path)).json()
    assert texts(newest["data"]) == [f"item {i}" for i in range(59, 39, -1)]
    assert (newest["has_more"], newest["last_id"]) == (True, newest["data"][-1]["id"])
    seen: list[str] = []
    after: dict[str, str] = {}
    for size in (25, 25, 10):
        page = (await client.get(path, params={"limit": "25", "order": "asc", **after})).json()
        assert (len(page["data"]), page["has_more"]) == (size, size == 25)
        seen += texts(page["data"])
        after = {"after": page["last_id"]}
    assert seen == [f"item {i}" for i in range(60)]
    end = (await client.get(path, params={"order": "asc", **after})).json()
    assert (end["data"], end["first_id"], end["last_id"], end["has_more"]) == ([], None, None, False)


BAD = [
    ("POST", "", b"{", 400, "invalid_json", None),
    ("POST", "", b"[]", 400, "invalid_json", None),
    ("POST", "", {"item": []}, 400, "unknown_parameter", "item"),
    ("POST", "", {"metadata": "x"}, 400, "invalid_type", "metadata"),
    ("POST", "", {"metadata": {"k" * 65: "v"}}, 400, "invalid_value", "metadata." + "k" * 60 + "…"),
    ("POST", "", {"metadata": {"k": "v" * 513}}, 400, "invalid_value", "metadata.k"),
    ("POST", "", {"metadata": {str(i): "v" for i in range(17)}}, 400, "invalid_value", "metadata"),
    ("POST", "", {"metadata": {"k": 1}}, 400, "invalid_type", "metadata.k"),
    ("POST", "", {"items": [user("x")] * 21}, 400, "invalid_value", "items"),
    ("POST", "", {"items": {}}, 400, "invalid_type", "items"),
    ("POST", "", {"items": [{"role": "king", "content": "x"}]}, 400, "invalid_value", "items[0].role"),
    ("POST", "", {"items": [{"type": "item_reference", "id": "msg_1"}]}, 400, "item_not_found", "items[0].id"),
    (
        "POST",
        "",
        {"items": [{"type": "compaction", "encrypted_content": "abc"}]},
        400,
        "invalid_value",
        "items[0].encrypted_content",
    ),
    ("POST", "", {"items": [{**user("x"), "id": "a"}, {**user("y"), "id": "a"}]}, 400, "invalid_value", "items[1].id"),
    ("POST", "/{id}", {}, 400, "missing_required_parameter", "metadata"),
    ("POST", "/{id}", {"metadata": {}, "items": []}, 400, "unknown_parameter", "items"),
    ("POST", "/{id}/items", {}, 400, "missing_required_parameter", "items"),
    ("POST", "/{id}/items", {"items": []}, 400, "invalid_value", "items"),
    ("POST", "/{id}/items", {"items": [7]}, 400, "invalid_type", "items[0]"),
    ("POST", "/{id}/items", {"items": [{**user("other"), "id": "msg_known"}]}, 400, "item_id_taken", "items"),
    ("POST", "/{id}/items?include=everything", {"items": [user("x")]}, 400, "invalid_value", "include"),
    ("GET", "/{id}/items?limit=0", None, 400, "invalid_value", "limit"),
    ("GET", "/{id}/items?limit=101", None, 400, "invalid_value", "limit"),
    ("GET", "/{id}/items?limit=ten", None, 400, "invalid_value", "limit"),
    ("GET", "/{id}/items?order=up", None, 400, "invalid_value", "order"),
    ("GET", "/{id}/items?after=msg_unknown", None, 404, "not_found", "after"),
    ("GET", "/{id}/items/msg_unknown", None, 404, "item_not_found", "item_id"),
    ("DELETE", "/{id}/items/msg_unknown", None, 404, "item_not_found", "item_id"),
    ("GET", "/conv_1", None, 404, "not_found", "conversation_id"),
    ("GET", "/resp_" + "0" * 48, None, 404, "not_found", "conversation_id"),
    ("DELETE", "/conv_" + "0" * 48, None, 404, "not_found", "conversation_id"),
    ("PUT", "/{id}", {}, 405, "method_not_allowed", None),
]


async def test_a_bad_request_is_refused_and_changes_nothing(client: httpx.AsyncClient) -> None:
    conversation = await new(client, {**user("known"), "id": "msg_known"}, metadata={"k": "v"})
    before = await items_of(client, conversation)
    for method, path, body, status, code, param in BAD:
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        answer = await client.request(method, "/v1/conversations" + path.format(id=conversation), content=content)
        is_error(answer, status, code, param)
    assert await items_of(client, conversation) == before
    assert (await client.get(f"/v1/conversations/{conversation}")).json()["metadata"] == {"k": "v"}


@pytest.mark.parametrize(
    ("conversation", "status", "code"),
    [
        (7, 400, "invalid_type"),
        ("", 400, "invalid_value"),
        ({"id": "conv_" + "0" * 48, "name": "x"}, 400, "unknown_parameter"),
        ({}, 400, "missing_required_parameter"),
        ("conv_" + "0" * 48, 404, "not_found"),
        ({"id": "nonsense"}, 404, "not_found"),
    ],
)
async def test_a_request_that_names_no_conversation_is_refused(
    client: httpx.AsyncClient, conversation: Any, status: int, code: str
) -> None:
    for path in ("/v1/responses", "/v1/responses/input_tokens"):
        answer = await client.post(path, json={"model": "fake", "input": "x", "conversation": conversation})
        is_error(answer, status, code)
        assert answer.json()["error"]["param"].startswith("conversation")


async def test_a_conversation_and_a_chain_exclude_each_other(client: httpx.AsyncClient) -> None:
    answer = await ask(client, await new(client), "x", previous_response_id=new_id("resp_"))
    is_error(answer, 400, "mutually_exclusive_parameters", "conversation")


# --- turns


@pytest.mark.campaign
async def test_three_turns_see_each_other_whatever_becomes_of_redis_and_the_workers(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    prompts = ["turn one", "turn two", "turn three"]
    scripts = [upstream.says(prompt, Script(words=3 + i)) for i, prompt in enumerate(prompts)]
    conversation = await new(client, {"role": "developer", "content": "Be brief."})
    told = ["Be brief."]
    for prompt, script in zip(prompts, scripts, strict=True):
        response = await respond(client, conversation, prompt)
        assert response["conversation"] == {"id": conversation}
        assert shown(upstream) == [*told, prompt]
        told += [prompt, script.text]
        items = await items_of(client, conversation)
        assert texts(items) == told
        assert items[-1] == response["output"][0]
        given = (await client.get(f"/v1/responses/{response['id']}/input_items")).json()["data"]
        assert items[-2] == given[0]
        await stack.flush()
        if prompt == "turn one":
            for worker in ("worker-0", "worker-1"):
                await stack.kill(worker)
            await stack.heal()
    counted = await client.post(
        "/v1/responses/input_tokens", json={"model": "fake", "input": "more", "conversation": conversation}
    )
    alone = await client.post("/v1/responses/input_tokens", json={"model": "fake", "input": "more"})
    assert counted.json()["input_tokens"] > alone.json()["input_tokens"] + 10


async def test_of_two_at_once_one_is_told_to_wait_and_the_order_is_right(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    held = upstream.says("held in a conversation", Script(words=4, hold_after=2))
    upstream.says("after it", Script(words=2))
    conversation = await new(client)
    first = asyncio.create_task(respond(client, conversation, "held in a conversation"))
    await asyncio.wait_for(held.held.wait(), 50)
    for stream in (False, True):
        refused = await ask(client, conversation, "after it", stream=stream)
        is_error(refused, 409, "conversation_busy", "conversation")
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["type"] == "invalid_request"
    added = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [user("x")]})
    is_error(added, 409, "conversation_busy")
    async with AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0) as openai:
        with pytest.raises(ConflictError):
            await openai.responses.create(model="fake", input="after it", conversation=conversation)
    changed = await client.post(f"/v1/conversations/{conversation}", json={"metadata": {"a": "b"}})
    assert changed.json()["metadata"] == {"a": "b"}
    held.released.set()
    await first
    await respond(client, conversation, "after it")
    assert texts(await items_of(client, conversation))[::2] == ["held in a conversation", "after it"]
    assert shown(upstream)[0] == "held in a conversation"


async def test_of_ten_that_race_one_has_the_lock(client: httpx.AsyncClient, upstream: Upstream) -> None:
    scripts = [upstream.says(f"racer {i}", Script(words=2, hold_after=1)) for i in range(10)]
    conversation = await new(client)
    racing = [asyncio.create_task(ask(client, conversation, f"racer {i}")) for i in range(10)]
    await until(lambda: _true(sum(task.done() for task in racing) == 9))
    for script in scripts:
        script.released.set()
    answers = await asyncio.gather(*racing)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert sum(script.attempts for script in scripts) == 1
    assert len(await items_of(client, conversation)) == 2


async def test_the_sdks_retries_wait_for_the_lock(stack: Stack, client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("a short turn", Script(words=2, delay=0.7))
    upstream.says("a patient one", Script(words=2))
    conversation = await new(client)
    async with AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=5) as openai:
        first = asyncio.create_task(respond(client, conversation, "a short turn"))
        script = upstream.script_of("a short turn")
        await until(lambda: _true(script.attempts == 1))
        await openai.responses.create(model="fake", input="a patient one", conversation=conversation)
        await first
    assert texts(await items_of(client, conversation))[::2] == ["a short turn", "a patient one"]


async def test_a_worker_killed_in_mid_answer_leaves_the_conversation_whole(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script = upstream.says("killed in a conversation", Script(words=60, gap=0.03))
    upstream.says("and then", Script(words=2))
    conversation = await new(client, user("before"))
    events = []
    async for event in events_of(client, {"input": "killed in a conversation", "conversation": conversation}):
        events.append(event)
        if len(events) == 20:
            await stack.kill(await stack.busy_worker())
    response = check_whole(events, script.text)
    await stack.flush()
    assert response["conversation"] == {"id": conversation}
    assert texts(await items_of(client, conversation)) == ["before", "killed in a conversation", script.text]
    await respond(client, conversation, "and then")
    # The adapter joins what one side says in a row.
    assert shown(upstream) == ["before\n\nkilled in a conversation", script.text, "and then"]


@pytest.mark.parametrize(("seconds_ago", "status"), [(0, 409), (61, 200)])
async def test_a_lock_whose_api_died_before_the_start_is_free_after_a_minute(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack, seconds_ago: int, status: int
) -> None:
    """As it looks then: the conversation waits for a response that Temporal does not know."""
    upstream.says("taken over", Script(words=2))
    conversation = await new(client)
    temporal = await connect(stack)
    left = TakeLock(response_id=new_id("resp_"), revision=0, at=time.time() - seconds_ago)
    await temporal.get_workflow_handle(conversation).execute_update("begin_turn", left)
    assert (await ask(client, conversation, "taken over")).status_code == status
    added = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [user("x")]})
    assert added.status_code == status
    assert len(await items_of(client, conversation)) == (3 if status == 200 else 0)


async def test_items_are_added_in_place_of_a_response_that_was_left_behind(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    conversation = await new(client)
    temporal = await connect(stack)
    left = TakeLock(response_id=new_id("resp_"), revision=0, at=time.time() - 61)
    await temporal.get_workflow_handle(conversation).execute_update("begin_turn", left)
    added = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [user("x")]})
    assert added.status_code == 200
    assert texts(await items_of(client, conversation)) == ["x"]


async def test_a_response_that_was_terminated_loses_its_lock(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script = upstream.says("terminated", Script(words=3, hold_after=1))
    upstream.says("after the end", Script(words=2))
    conversation = await new(client)
    running = await respond(client, conversation, "terminated", background=True)
    await asyncio.wait_for(script.held.wait(), 50)
    await (await connect(stack)).get_workflow_handle(running["id"]).terminate("by an operator")
    await respond(client, conversation, "after the end")
    assert texts(await items_of(client, conversation))[0] == "after the end"
    script.released.set()


async def test_a_response_that_ended_without_a_word_is_counted_once(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """Its lock is held by hand, as if the signal of its end were still on its way; then that comes."""
    script = upstream.says("without a word", Script(words=3))
    upstream.says("next in line", Script(words=2))
    elsewhere = await respond(client, await new(client), "without a word")
    conversation = await new(client)
    handle = (await connect(stack)).get_workflow_handle(conversation)
    await handle.execute_update("begin_turn", TakeLock(response_id=elsewhere["id"], revision=0, at=time.time()))
    await respond(client, conversation, "next in line")
    assert shown(upstream) == ["without a word", script.text, "next in line"]
    late = Entry(item={**user("late"), "type": "message", "id": "msg_late"}, response_id=elsewhere["id"])
    await handle.signal("end_turn", ResponseEnd(response_id=elsewhere["id"], entries=[late]))
    assert len(await items_of(client, conversation)) == 4


@pytest.mark.campaign
async def test_what_failed_or_was_cancelled_adds_nothing_and_what_was_cut_short_does(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("fails here", Script(faults=[Fault(status=400)]))
    upstream.says("too long", Script(words=3, finish="length"))
    held = upstream.says("is cancelled", Script(words=9, hold_after=2))
    conversation = await new(client)
    assert (await respond(client, conversation, "fails here"))["status"] == "failed"
    running = await respond(client, conversation, "is cancelled", background=True)
    await asyncio.wait_for(held.held.wait(), 50)
    cancelled = (await client.post(f"/v1/responses/{running['id']}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    held.released.set()
    assert await items_of(client, conversation) == []
    assert (await respond(client, conversation, "too long"))["status"] == "incomplete"
    assert [item["status"] for item in await items_of(client, conversation)] == ["completed", "incomplete"]


async def test_a_try_that_broke_off_and_was_sampled_again_is_there_once(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("broken off", Script(words=6, faults=[Fault(after=3, drop=True)]))
    conversation = await new(client)
    response = await respond(client, conversation, "broken off", model="no-resume")
    assert [item["status"] for item in response["output"]] == ["incomplete", "completed"]
    assert texts(await items_of(client, conversation)) == ["broken off", script.text]


@pytest.mark.campaign
async def test_a_response_that_is_not_stored_is_in_its_conversation(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """As at OpenAI: `store` is about the response. Large, so that what is erased with the response is not missed."""
    large = secrets.token_hex(150_000)
    upstream.says("unstored in it", Script(words=3))
    upstream.says("stored again", Script(words=1))
    conversation = await new(client)
    response = await respond(client, conversation, [user(large), user("unstored in it")], store=False)

    # The key of its own payloads goes with it, and nothing but an empty mark is left.
    await until(
        lambda: _true(not [p for p in (stack.data / "blobs").rglob(response["id"]) if p.parent.name != "erased"])
    )
    for worker in ("worker-0", "worker-1"):
        await stack.kill(worker)
    await stack.heal()
    items = await items_of(client, conversation)
    assert texts(items)[:2] == [large, "unstored in it"]
    await respond(client, conversation, [{"id": items[1]["id"]}, user("stored again")])
    assert large in "".join(shown(upstream))
    assert "unstored in it" in "".join(shown(upstream)[-2:])


@pytest.mark.campaign
async def test_a_conversation_of_megabytes_goes_on(client: httpx.AsyncClient, upstream: Upstream, stack: Stack) -> None:
    """Beyond what Temporal takes as a payload, and as a message."""
    parts = [secrets.token_hex(450_000) for _ in range(5)]
    upstream.says("about all of it", Script(words=2))
    upstream.says("and once more", Script(words=2))
    conversation = await new(client)
    for part in parts:
        added = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [user(part)]})
        assert added.status_code == 200
    await respond(client, conversation, "about all of it")
    await stack.flush()
    await stack.kill("worker-0")
    await stack.kill("worker-1")
    await stack.heal()
    await respond(client, conversation, "and once more")
    sent = "".join(shown(upstream))
    assert all(part in sent for part in parts)
    assert texts(await items_of(client, conversation))[:5] == parts


@pytest.mark.campaign
async def test_what_is_longer_than_the_window_is_truncated_as_a_chain_is(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("in a small window", Script(words=2))
    old = [[user(f"old {i} " + "filler " * 100), {"role": "assistant", "content": f"noted {i}"}] for i in range(5)]
    conversation = await new(client, *(item for pair in old for item in pair))
    refused = await respond(client, conversation, "in a small window", model="fake-small")
    assert (refused["status"], refused["error"]["code"]) == ("failed", "context_length_exceeded")
    answer = await respond(client, conversation, "in a small window", model="fake-small", truncation="auto")
    assert answer["status"] == "completed"
    assert "old 0" not in "".join(shown(upstream))


# --- calls


async def test_a_call_of_the_client_has_to_be_answered_in_the_next_turn(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("call mine", calls(("c7", "mine", {})))
    script.turns.append(Script(words=2))
    conversation = await new(client)
    await respond(client, conversation, "call mine", tools=MINE)
    is_error(await ask(client, conversation, "ignored it", tools=MINE), 400, "missing_tool_output", "input")
    output = {"type": "function_call_output", "call_id": "c7", "output": "done"}
    unknown = await ask(client, conversation, [output, {**output, "call_id": "c8"}], tools=MINE)
    is_error(unknown, 400, "unknown_tool_call", "input[1].call_id")
    answer = await respond(client, conversation, [output], tools=MINE)
    assert answer["output"][0]["content"][0]["text"] == script.turns[0].text
    items = await items_of(client, conversation)
    assert [item["type"] for item in items] == ["message", "function_call", "function_call_output", "message"]
    assert items[2]["status"] == "completed"


async def test_an_output_whose_call_was_deleted_stays_and_is_not_read(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "mine", "arguments": "{}", "id": "fc_mine"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "forty-two", "id": "fco_mine"}
    conversation = await new(client, user("call it"), call, output)
    await respond(client, conversation, "with it")
    assert "forty-two" in json.dumps(upstream.requests[-1]["messages"])
    assert (await client.delete(f"/v1/conversations/{conversation}/items/fc_mine")).status_code == 200
    await respond(client, conversation, "without it")
    assert "forty-two" not in json.dumps(upstream.requests[-1]["messages"])
    assert "fco_mine" in [item["id"] for item in await items_of(client, conversation)]
    path = f"/v1/conversations/{conversation}/items"
    again = await client.post(path, json={"items": [{**output, "id": "fco_again"}]})
    is_error(again, 400, "unknown_tool_call", "items[0].call_id")
    # A new call under the same id is another one.
    ids = {"call": "fc_new", "output": "fco_new"}
    both = [{**call, "id": ids["call"]}, {**output, "id": ids["output"], "output": "forty-three"}]
    assert (await client.post(path, json={"items": both})).status_code == 200
    await respond(client, conversation, "and with the new one")
    told = json.dumps(upstream.requests[-1]["messages"])
    assert ("forty-three" in told, "forty-two" in told) == (True, False)


async def test_a_call_whose_output_was_deleted_has_to_be_answered_again(client: httpx.AsyncClient) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "mine", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42", "id": "fco_mine"}
    conversation = await new(client, call, output)
    assert (await client.delete(f"/v1/conversations/{conversation}/items/fco_mine")).status_code == 200
    is_error(await ask(client, conversation, "go on"), 400, "missing_tool_output", "input")
    assert (await ask(client, conversation, [output, user("go on")])).status_code == 200


async def test_calls_and_outputs_may_be_added_by_the_client(client: httpx.AsyncClient, upstream: Upstream) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "mine", "arguments": "{}"}
    conversation = await new(client, user("call it"), call)
    is_error(await ask(client, conversation, "and?"), 400, "missing_tool_output")
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    added = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [output]})
    assert added.json()["data"][0]["id"].startswith("fco_")
    assert (await ask(client, conversation, "and?")).status_code == 200
    assert "42" in json.dumps(upstream.requests[-1]["messages"])


async def test_an_output_is_added_once_behind_its_call(client: httpx.AsyncClient) -> None:
    """What no turn could go on from is refused when it is added, and nothing of the request is there."""
    call = {"type": "function_call", "call_id": "c1", "name": "mine", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    unknown, doubled = "unknown_tool_call", "duplicate_tool_output"
    bad: list[tuple[list[Json], str, int]] = [
        ([output], unknown, 0),
        ([user("x"), output, call], unknown, 1),
        ([call, output, output], doubled, 2),
        ([call, call], "invalid_value", 1),
    ]
    conversation = await new(client, user("before"))
    path = f"/v1/conversations/{conversation}/items"
    for items, code, index in bad:
        for url in ("/v1/conversations", path):
            is_error(await client.post(url, json={"items": items}), 400, code, f"items[{index}].call_id")
    assert texts(await items_of(client, conversation)) == ["before"]

    assert (await client.post(path, json={"items": [call]})).status_code == 200
    is_error(await client.post(path, json={"items": [user("x"), call]}), 400, "invalid_value", "items[1].call_id")
    named = {**output, "id": "fco_mine"}
    for _ in range(2):
        # The same item a second time is there already.
        assert (await client.post(path, json={"items": [named]})).status_code == 200
    is_error(await client.post(path, json={"items": [output]}), 400, doubled, "items[0].call_id")
    assert (await client.post(path, json={"items": [call, output]})).status_code == 200
    assert (await ask(client, conversation, "and?")).status_code == 200


async def test_hosted_tools_leave_their_calls_and_results(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("weather here", calls(("w", "get_weather", {"city": "Rome"})))
    script.turns.append(Script(words=2))
    upstream.says("thanks", Script(words=1))
    conversation = await new(client)
    await respond(client, conversation, "weather here", tools=HOSTED)
    types = [item["type"] for item in await items_of(client, conversation)]
    assert types == ["message", "function_call", "function_call_output", "message"]
    await respond(client, conversation, "thanks", tools=HOSTED)
    assert "Rome" in json.dumps(upstream.requests[-1]["messages"])


async def test_a_hosted_call_that_was_not_run_need_not_be_answered(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("cut at a call", calls(("w", "get_weather", {"city": "Oslo"}), finish="length"))
    for prompt in ("next after a cut", "and after that"):
        upstream.says(prompt, Script(words=1))
    conversation = await new(client)
    first = await respond(client, conversation, "cut at a call", tools=HOSTED)
    assert first["status"] == "incomplete", first
    for prompt in ("next after a cut", "and after that"):
        assert (await ask(client, conversation, prompt, tools=HOSTED)).status_code == 200


async def test_an_approval_is_given_in_the_conversation(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("delete in a conversation", calls(("d", "delete_all", {"what": "logs"})))
    script.turns.append(Script(words=2))
    conversation = await new(client)
    asking = (await respond(client, conversation, "delete in a conversation", tools=HOSTED))["output"][-1]
    assert asking["type"] == "mcp_approval_request"
    word = {"type": "mcp_approval_response", "approval_request_id": asking["id"], "approve": True}
    is_error(await ask(client, await new(client), [word], tools=HOSTED), 400, "approval_not_found")
    done = await respond(client, conversation, [word], tools=HOSTED)
    assert [item["type"] for item in done["output"]] == ["function_call", "function_call_output", "message"]
    is_error(await ask(client, conversation, [word], tools=HOSTED), 409, "approval_already_answered")


@pytest.mark.campaign
async def test_the_tools_of_an_mcp_server_are_listed_once_in_a_conversation(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """As long as the list is among its items, and the server is the same."""

    async def types(prompt: str, **tool: Any) -> list[str]:
        script = upstream.says(prompt, calls(("c", "add", {"a": 1, "b": 1})))
        script.turns.append(Script(words=2))
        response = await respond(client, conversation, prompt, tools=[{**calc, **tool}])
        return [item["type"] for item in response["output"]]

    calc = {"type": "mcp", "server_label": "calc", "require_approval": "never"}
    conversation = await new(client)
    listed, known = ["mcp_list_tools", "mcp_call", "message"], ["mcp_call", "message"]
    assert await types("list it") == listed
    await stack.flush()
    assert await types("known by now") == known
    items = await items_of(client, conversation)
    assert sum(item["type"] == "mcp_list_tools" for item in items) == 1
    elsewhere = {"server_url": stack.mcp_url, "authorization": TOKEN}
    assert await types("at another address", **elsewhere) == listed
    assert await types("and there again", **elsewhere) == known
    for item in await items_of(client, conversation):
        if item["type"] == "mcp_list_tools":
            await client.delete(f"/v1/conversations/{conversation}/items/{item['id']}")
    assert await types("the list is gone") == listed


async def test_a_list_of_tools_that_a_client_wrote_is_asked_for_again(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("whose list", calls(("c", "add", {"a": 1, "b": 1})))
    script.turns.append(Script(words=2))
    forged = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "calc", "tools": [{"name": "sub"}]}
    calc = {"type": "mcp", "server_label": "calc", "require_approval": "never"}
    response = await respond(client, await new(client, forged), "whose list", tools=[calc])
    assert [item["type"] for item in response["output"]] == ["mcp_list_tools", "mcp_call", "message"]


# --- items


async def test_a_reference_stands_for_an_item_of_the_conversation(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    conversation = await new(client, {**user("named by me"), "id": "msg_mine"}, user("second"))
    await respond(client, conversation, [{"type": "item_reference", "id": "msg_mine"}, user("what was it?")])
    assert "".join(shown(upstream)).count("named by me") == 2
    assert texts(await items_of(client, conversation))[:3] == ["named by me", "second", "what was it?"]
    elsewhere = await ask(client, await new(client), [{"type": "item_reference", "id": "msg_mine"}])
    is_error(elsewhere, 400, "item_not_found", "input[0].id")


async def test_an_item_of_a_response_can_be_added_by_reference_and_only_once(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("refer to me", Script(words=3))
    item = (await client.post("/v1/responses", json={"model": "fake", "input": "refer to me"})).json()["output"][0]
    conversation = await new(client)
    for given in ({"type": "item_reference", "id": item["id"]}, item):
        answer = await client.post(f"/v1/conversations/{conversation}/items", json={"items": [given]})
        assert answer.json()["data"] == [item]
    assert await items_of(client, conversation) == [item]


async def test_an_input_whose_ids_are_taken_gets_its_own(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("another one", Script(words=1))
    conversation = await new(client, {**user("one"), "id": "msg_1"})
    await respond(client, conversation, [{**user("another one"), "id": "msg_1"}])
    items = await items_of(client, conversation)
    assert texts(items)[:2] == ["one", "another one"]
    assert len({item["id"] for item in items}) == 3


# --- ends


async def test_a_deleted_conversation_keeps_its_responses_and_lets_the_running_one_end(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    upstream.says("stays", Script(words=2))
    held = upstream.says("runs on", Script(words=4, hold_after=2))
    conversation = await new(client)
    done = await respond(client, conversation, "stays")
    running = asyncio.create_task(respond(client, conversation, "runs on"))
    await asyncio.wait_for(held.held.wait(), 50)
    assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 200
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/items"), ("GET", "/items/x")):
        is_error(await client.request(method, f"/v1/conversations/{conversation}{path}"), 404, "not_found")
    is_error(await ask(client, conversation, "x"), 404, "not_found", "conversation")
    held.released.set()
    assert (await running)["status"] == "completed"
    kept = (await client.get(f"/v1/responses/{done['id']}")).json()
    assert (kept["status"], kept["conversation"]) == ("completed", {"id": conversation})
    temporal = await connect(stack)
    await until(lambda: is_forgotten(temporal, conversation), 60)


@pytest.mark.campaign
async def test_a_long_conversation_goes_from_run_to_run(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    temporal = await connect(stack)
    conversation = new_id("conv_")
    await start(temporal, conversation, changes_per_run=3)
    prompts = [f"run to run {i}" for i in range(6)]
    for prompt in prompts:
        upstream.says(prompt, Script(words=1))
        await respond(client, conversation, prompt)
    assert texts(await items_of(client, conversation))[::2] == prompts
    runs = [run async for run in temporal.list_workflows(f"WorkflowId = '{conversation}'")]
    description = await temporal.get_workflow_handle(conversation).describe()
    assert description.status == WorkflowExecutionStatus.RUNNING
    assert len(runs) > 2
    assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 200
    for run in runs:
        # Temporal deletes when it has acknowledged a run's close, which it does every half minute.
        await until(lambda run_id=run.run_id: is_forgotten(temporal, conversation, run_id), 60)


async def test_a_conversation_that_rests_is_renewed(stack: Stack, client: httpx.AsyncClient) -> None:
    temporal = await connect(stack)
    conversation = new_id("conv_")
    await start(temporal, conversation, renew_seconds=0.5)
    handle = temporal.get_workflow_handle(conversation)
    first = (await handle.describe()).run_id

    async def renewed() -> bool:
        return (await handle.describe()).run_id != first

    await until(renewed)
    assert (await client.delete(f"/v1/conversations/{conversation}")).status_code == 200


# --- with the rest of the API


async def test_an_idempotency_key_takes_the_lock_once(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script = upstream.says("once in it", Script(words=3, delay=0.2))
    upstream.says("in between", Script(words=1))
    conversation = await new(client)
    body = {"model": "fake", "input": "once in it", "conversation": conversation}

    async def send() -> httpx.Response:
        return await client.post("/v1/responses", json=body, headers={"Idempotency-Key": f"key {conversation}"})

    answers = await asyncio.gather(*(send() for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    await respond(client, conversation, "in between")
    await stack.flush()
    answers.append(await send())
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert script.attempts == 1
    assert texts(await items_of(client, conversation))[::2] == ["once in it", "in between"]


async def test_a_request_left_behind_before_its_start_reads_the_conversation_again(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """Its record is in Redis, its lock is free, and its client sends it again."""
    earlier = upstream.says("came later", Script(words=1))
    script = upstream.says("left behind", Script(words=3))
    conversation = await new(client)
    body = {"model": "fake", "input": "left behind", "conversation": conversation}
    head = {"idempotency-key": f"key {conversation}"}
    key = idempotency_key("default", head, body)
    assert key is not None
    left = StartResponse(
        response_id=key.response_id,
        tenant="default",
        created_at=int(time.time()),
        request=CreateResponse.model_validate(body),
        provider="fake",
        upstream_model="fake",
        retry_window=20,
        body_digest=key.body_digest,
        nonce="nonce_1",
    )
    redis = aioredis.Redis.from_url(stack.redis_url)
    await ResponseStore(redis, ttl_seconds=600, log_ttl_seconds=600).begin(left, ())
    await redis.aclose()
    await respond(client, conversation, "came later")
    again = await client.post("/v1/responses", json=body, headers=head)
    assert (again.status_code, again.json()["id"]) == (200, key.response_id)
    assert shown(upstream) == ["came later", earlier.text, "left behind"]
    assert script.attempts == 1
    assert texts(await items_of(client, conversation))[::2] == ["came later", "left behind"]


async def test_a_background_response_has_the_lock_until_it_ends(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("in the background", Script(words=3, hold_after=1))
    conversation = await new(client)
    running = await respond(client, conversation, "in the background", background=True)
    assert running["conversation"] == {"id": conversation}
    is_error(await ask(client, conversation, "x"), 409, "conversation_busy")
    await asyncio.wait_for(script.held.wait(), 50)
    script.released.set()

    async def free() -> bool:
        return (await ask(client, conversation, "x")).status_code == 200

    await until(free)
    assert texts(await items_of(client, conversation))[0:3:2] == ["in the background", "x"]


async def test_a_socket_takes_turns_in_a_conversation(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    first = upstream.says("socket turn one", Script(words=3))
    upstream.says("socket turn two", Script(words=3))
    conversation = await new(client)
    async with connected(stack.api_url) as ws:
        answer = await ws.answer(input="socket turn one", conversation=conversation, store=False)
        assert answer["conversation"] == {"id": conversation}
        await ws.answer(input="socket turn two", conversation={"id": conversation})
        assert shown(upstream) == ["socket turn one", first.text, "socket turn two"]
        await ws.ask(input="x", conversation=new_id("conv_"))
        await ws.is_refused(404, "not_found", "conversation")
        await ws.ask(input="x", conversation=conversation, generate=False)
        await ws.is_refused(400, "invalid_value", "conversation")
    assert len(await items_of(client, conversation)) == 4


async def test_events_with_a_conversation_fit_the_schema(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("schema in it", Script(words=3))
    events = await collect(client, {"input": "schema in it", "conversation": await new(client)})
    check_whole(events, script.text)


# --- whose conversations are whose


async def test_a_conversation_of_another_tenant_is_an_unknown_one(stack: Stack) -> None:
    async with keyed_api(stack, key_block("owner", "owner-k"), key_block("stranger", "stranger-k")) as api:
        made = await api.post(
            "/v1/conversations", json={"items": [{**user("secret"), "id": "msg_s"}]}, headers=bearer("owner-k")
        )
        owned, unknown = made.json()["id"], new_id("conv_")
        item = {"items": [user("x")]}
        tries: list[tuple[str, str, Any]] = [
            ("GET", "/v1/conversations/{id}", None),
            ("POST", "/v1/conversations/{id}", {"metadata": {}}),
            ("DELETE", "/v1/conversations/{id}", None),
            ("GET", "/v1/conversations/{id}/items", None),
            ("POST", "/v1/conversations/{id}/items", item),
            ("GET", "/v1/conversations/{id}/items/msg_s", None),
            ("DELETE", "/v1/conversations/{id}/items/msg_s", None),
            ("POST", "/v1/responses", "{id}"),
            ("POST", "/v1/responses/input_tokens", "{id}"),
        ]
        for method, path, body in tries:
            seen = []
            for id in (owned, unknown):
                sent = {"model": "fake", "input": "x", "conversation": id} if body == "{id}" else body
                answer = await api.request(method, path.format(id=id), json=sent, headers=bearer("stranger-k"))
                assert answer.status_code == 404, (method, path, answer.text)
                seen.append(answer.text.replace(id, "<id>"))
                assert (await api.request(method, path.format(id=id), json=sent)).status_code == 401
            assert seen[0] == seen[1], (method, path)
        kept = await api.get(f"/v1/conversations/{owned}/items", headers=bearer("owner-k"))
        assert texts(kept.json()["data"]) == ["secret"]


# --- the rules, without Temporal


def conversation(**changes: Any) -> Conversation:
    return Conversation(ConversationState(conversation_id="conv_1", tenant="t", created_at=1, **changes))


def lock_for(response_id: str, revision: int = 0) -> TakeLock:
    return TakeLock(response_id=response_id, revision=revision, at=0)


def end(response_id: str, *ids: str) -> ResponseEnd:
    return ResponseEnd(
        response_id=response_id,
        entries=[Entry(item={"type": "message", "id": id}, response_id=response_id) for id in ids],
    )


def refusal(act: Any, *args: Any) -> str:
    with pytest.raises(Refused) as refused:
        act(*args)
    return refused.value.code


def test_a_lock_can_be_taken_and_released_twice_and_counts_once() -> None:
    known = conversation()
    known.take_lock(lock_for("r1"))
    known.take_lock(lock_for("r1"))
    assert refusal(known.take_lock, lock_for("r2")) == BUSY
    known.end_response(end("r1", "a", "b"))
    known.end_response(end("r1", "a", "b"))
    assert [item["id"] for item in known.state.items] == ["a", "b"]
    assert refusal(known.take_lock, lock_for("r1", 1)) == ALREADY_ENDED
    assert refusal(known.take_lock, lock_for("r2", 0)) == CHANGED
    known.take_lock(lock_for("r2", 1))


def test_a_late_end_after_a_released_lock_adds_its_items_and_leaves_the_lock_alone() -> None:
    known = conversation()
    known.take_lock(lock_for("r1"))
    known.release_lock("r1")
    known.take_lock(lock_for("r2"))
    known.end_response(end("r1", "late"))
    assert known.state.lock is not None
    assert known.state.lock.response_id == "r2"
    known.end_response(end("r2", "own"))
    assert [item["id"] for item in known.state.items] == ["late", "own"]
    assert known.state.lock is None


async def test_payloads_name_the_lock_as_those_of_running_conversations_do() -> None:
    known = conversation()
    known.take_lock(lock_for("r1"))
    (payload,) = await DATA_CONVERTER.encode([known.state])
    assert json.loads(payload.data)["turn"] == {"response_id": "r1", "began_at": 0.0}
    (read,) = await DATA_CONVERTER.decode([payload], [ConversationState])
    assert read == known.state


def test_a_full_conversation_cannot_be_locked_until_an_item_is_deleted() -> None:
    known = conversation()
    known.end_response(end("r1", *(str(i) for i in range(MAX_CONVERSATION_ITEMS))))
    assert refusal(known.take_lock, lock_for("r2", 1)) == FULL
    assert refusal(known.add, [{"type": "message", "id": "x"}]) == FULL
    known.delete("7")
    known.take_lock(lock_for("r2", 2))


def test_the_characters_of_what_is_deleted_are_free_again() -> None:
    known = conversation()
    known.add([{"type": "message", "id": "x", "content": "ü" * 100}])
    assert known.state.characters > 100
    known.delete("x")
    assert known.state.characters == 0


def test_what_an_earlier_version_let_in_stays_in_and_is_not_read() -> None:
    """The handler of an update runs again at each replay: only its validator may refuse what was taken once."""
    known = conversation()
    output = {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "x"}
    assert refusal(known.check_addition, [output]) == "unknown_tool_call"
    known.add([output])
    assert [item["id"] for item in known.state.items] == ["fco_1"]
    assert remembered(known.state) is None


def test_what_a_response_reads_is_in_turns() -> None:
    def entry(id: str, response_id: str | None = None, is_output: bool = False) -> Entry:
        return Entry(item={"type": "message", "id": id}, response_id=response_id, is_output=is_output)

    entries = [entry("a"), entry("b", "r1"), entry("c", "r1", True), entry("d", "r1", True), entry("e", "r2", True)]
    found = remembered(conversation(entries=entries).state)
    assert found is not None
    turns = [([i["id"] for i in turn.input], [i["id"] for i in turn.output]) for turn in found.turns]
    assert turns == [(["a", "b"], ["c", "d"]), ([], ["e"])]
    assert remembered(conversation().state) is None


def test_what_a_summary_stands_for_is_not_carried_along() -> None:
    def entry(id: str, role: str | None = None, kind: str = "message") -> Entry:
        return Entry(item={"type": kind, "id": id, **({"role": role} if role else {})})

    before = [entry("rules", "developer"), entry("old", "user"), entry("said", "assistant")]
    asked = [entry("asked", "user"), entry("and", "user"), entry("thought", kind="reasoning")]
    notes = [entry("first", kind="compaction"), entry("go on", "user"), entry("notes", kind="compaction")]
    found = remembered(conversation(entries=[*before, *asked, *notes[:1], entry("new", "assistant")]).state)
    assert found is not None
    assert [item["id"] for item in found.turns[0].input] == ["rules", "asked", "and", "first", "new"]
    found = remembered(conversation(entries=[*before, *asked, *notes]).state)
    assert found is not None
    assert [item["id"] for item in found.turns[0].input] == ["rules", "go on", "notes"]


async def test_a_conversation_goes_on_from_its_summary(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """What the summary replaced stays in the list, and is in no start any more."""
    upstream.says(ORDER, Script(literal="The notes."))
    upstream.says("much of it", Script(words=3))
    answer = upstream.says("after the notes", Script(words=3))
    conversation = await new(client, *(user(f"old {i} " + "filler " * 400) for i in range(4)), answered())
    managed = [{"type": "compaction", "compact_threshold": 1000}]
    first = await respond(client, conversation, "much of it", context_management=managed)
    assert [item["type"] for item in first["output"]] == ["compaction", "message"]
    second = await respond(client, conversation, "after the notes")
    assert second["output"][0]["content"][0]["text"] == answer.text
    told = "".join(shown(upstream))
    assert ("The notes." in told, "old 0" in told) == (True, False)
    assert len(await items_of(client, conversation)) == 10
    progress = await (await connect(stack)).get_workflow_handle(second["id"]).query("progress", result_type=Progress)
    assert "old 0" not in progress.model_dump_json()


def answered() -> Json:
    return {"role": "assistant", "content": "Noted."}


async def _true(condition: bool) -> bool:
    return condition
