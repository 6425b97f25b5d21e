"""What an operator does to a conversation's workflow: it is as it was, or it is gone, and says so at once."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.client import WorkflowExecutionStatus

from tests.support.fake_upstream import Script, Upstream
from tests.support.operator import console, delete, reset, watched
from tests.support.stack import Stack, until

pytestmark = pytest.mark.campaign

_DROPPED = (
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL,
    ResetReapplyExcludeType.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
)


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


async def begun(client: httpx.AsyncClient, *texts: str) -> str:
    answer = await client.post("/v1/conversations", json={"items": [user(text) for text in texts]})
    conversation_id: str = answer.json()["id"]
    return conversation_id


async def texts_of(client: httpx.AsyncClient, conversation_id: str) -> list[str]:
    answer = await client.get(f"/v1/conversations/{conversation_id}/items", params={"order": "asc", "limit": 100})
    assert answer.status_code == 200, answer.text
    return [item["content"][0]["text"] for item in answer.json()["data"]]


async def turn(client: httpx.AsyncClient, conversation_id: str, prompt: str) -> httpx.Response:
    body = {"model": "fake", "input": prompt, "conversation": conversation_id}
    return await client.post("/v1/responses", json=body)


async def is_gone(client: httpx.AsyncClient, conversation_id: str) -> None:
    """Each request that names it is a 404 in the specification's form."""
    url = f"/v1/conversations/{conversation_id}"
    answers = [
        await client.get(url),
        await client.get(f"{url}/items"),
        await client.get(f"{url}/items/msg_1"),
        await client.post(url, json={"metadata": {}}),
        await client.post(f"{url}/items", json={"items": [user("too late")]}),
        await client.delete(f"{url}/items/msg_1"),
        await client.delete(url),
        await turn(client, conversation_id, "too late"),
    ]
    for answer in answers:
        assert answer.status_code == 404, answer.text
        assert conversation_id in answer.json()["error"]["message"]


async def test_a_cancelled_conversation_stays_as_it_is(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Also in the middle of a turn, and twice."""
    held = upstream.says("held in a conversation", Script(words=5, hold_after=2))
    upstream.says("and after it", Script(words=2))
    conversation_id = await begun(client, "before")
    handle = (await console(stack)).get_workflow_handle(conversation_id)
    async with watched(stack, client, "held in a conversation", conversation=conversation_id) as running:
        await running.until("response.output_text.delta")
        await handle.cancel()
        await handle.cancel()
        assert await texts_of(client, conversation_id) == ["before"]
        held.released.set()
        assert (await running.ended())["status"] == "completed"
    await handle.cancel()
    assert (await turn(client, conversation_id, "and after it")).json()["status"] == "completed"
    assert await texts_of(client, conversation_id) == [
        "before",
        "held in a conversation",
        held.text,
        "and after it",
        Script(words=2).text,
    ]
    assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    assert (await client.delete(f"/v1/conversations/{conversation_id}")).status_code == 200
    await is_gone(client, conversation_id)


@pytest.mark.parametrize("how", ["terminated", "deleted"])
async def test_a_conversation_that_is_taken_away_is_gone_and_its_response_goes_on(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, how: str
) -> None:
    prompt = f"its conversation is {how}"
    held = upstream.says(prompt, Script(words=5, hold_after=2))
    conversation_id, temporal = await begun(client, "before"), await console(stack)
    async with watched(stack, client, prompt, conversation=conversation_id) as running:
        await running.until("response.output_text.delta")
        if how == "deleted":
            await delete(temporal, conversation_id)
        else:
            await temporal.get_workflow_handle(conversation_id).terminate("by hand")

        async def is_unknown() -> bool:
            return (await client.get(f"/v1/conversations/{conversation_id}")).status_code == 404

        await until(is_unknown)
        await is_gone(client, conversation_id)
        held.released.set()
        response = await running.ended()
    assert response["status"] == "completed"
    assert response["output"][0]["content"][0]["text"] == held.text
    await is_gone(client, conversation_id)


async def test_a_terminated_conversation_is_back_after_a_reset_with_the_turn_that_ended_meanwhile(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = upstream.says("ends meanwhile", Script(words=5, hold_after=2))
    after = upstream.says("after the reset", Script(words=2))
    conversation_id, temporal = await begun(client, "before"), await console(stack)
    handle = temporal.get_workflow_handle(conversation_id)
    async with watched(stack, client, "ends meanwhile", conversation=conversation_id) as running:
        await running.until("response.output_text.delta")
        await handle.terminate("by mistake")
        held.released.set()
        await running.ended()
    await reset(temporal, handle, -1)
    answer = await turn(client, conversation_id, "after the reset")
    assert answer.json()["status"] == "completed", answer.text
    whole = ["before", "ends meanwhile", held.text, "after the reset", after.text]
    assert await texts_of(client, conversation_id) == whole
    # The adapter joins neighbouring messages of one role.
    assert "".join(message["content"].replace("\n\n", "") for message in after.messages) == "".join(whole[:-1])


async def test_a_reset_conversation_has_all_that_was_sent_to_it(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """A reset applies later updates and signals again, unless the reset request excludes them."""
    upstream.says("before a reset", Script(words=3))
    conversation_id, temporal = await begun(client, "first"), await console(stack)
    assert (await turn(client, conversation_id, "before a reset")).json()["status"] == "completed"
    whole = await texts_of(client, conversation_id)
    assert len(whole) == 3
    await reset(temporal, temporal.get_workflow_handle(conversation_id), 0)

    async def is_whole() -> bool:
        return await texts_of(client, conversation_id) == whole

    await until(is_whole)
    assert (await turn(client, conversation_id, "before a reset")).json()["status"] == "completed"
    assert len(await texts_of(client, conversation_id)) == 5


async def test_no_model_reads_what_a_reset_took_out_of_a_conversation(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """The API has read the conversation before, and afterwards it is as long as it was then."""
    upstream.says("one", Script(words=3))
    upstream.says("two", Script(words=3))
    last = upstream.says("three", Script(words=3))
    conversation_id, temporal = await begun(client, "first"), await console(stack)
    for prompt in ("one", "two"):
        assert (await turn(client, conversation_id, prompt)).json()["status"] == "completed"
    await reset(temporal, temporal.get_workflow_handle(conversation_id), 0, without=_DROPPED)
    assert await texts_of(client, conversation_id) == ["first"]
    added = ["other 1", "other 2", "other 3", "other 4"]
    answer = await client.post(
        f"/v1/conversations/{conversation_id}/items", json={"items": [user(text) for text in added]}
    )
    assert answer.status_code == 200, answer.text
    assert (await turn(client, conversation_id, "three")).json()["status"] == "completed"
    read = "\n\n".join(message["content"] for message in last.messages)
    assert read == "\n\n".join(["first", *added, "three"])
