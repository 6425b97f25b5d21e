"""Responses in a conversation: one after the other, whatever fails."""

from __future__ import annotations

import asyncio
import secrets
import time

import httpx
import pytest
from openai import AsyncOpenAI, ConflictError

from open_responses.context.compaction import ORDER
from open_responses.conversations.payloads import Entry, ResponseEnd, TakeLock
from open_responses.ids import new_id
from open_responses.loop.payloads.finish import Progress
from tests.support.conversations import Json, ask, connect, items_of, new, respond, shown, texts, user
from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Stack, check_whole, events_of, until

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
    await until(lambda: true(sum(task.done() for task in racing) == 9))
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
        await until(lambda: true(script.attempts == 1))
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
        lambda: true(not [p for p in (stack.data / "blobs").rglob(response["id"]) if p.parent.name != "erased"])
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


# --- the rules, without Temporal


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


async def true(condition: bool) -> bool:
    return condition
