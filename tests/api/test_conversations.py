"""`/v1/conversations`: the endpoints, the end of a conversation, and whose each is."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, NotFoundError
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from open_responses.conversations.payloads import ConversationState
from open_responses.ids import is_id, new_id
from open_responses.io.temporal.client import TENANT
from open_responses.loop.payloads.names import TASK_QUEUE
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.conversations import ask, connect, items_of, new, respond, texts, user
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until
from workflows.conversation import ConversationWorkflow


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
