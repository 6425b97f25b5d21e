"""Steering at the edges: in a queue, behind an approval, at the end, without a worker, in a new run, and in number."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from temporalio.client import Client

from open_responses.loop.steering import MAX_WAITING_STEERS
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import create, is_error
from tests.support.scripts import HOSTED, script
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import Stack, check_whole, events_of, until

pytestmark = pytest.mark.campaign

Json = dict[str, Any]


async def read(client: httpx.AsyncClient, response_id: str) -> Json:
    response: Json = (await client.get(f"/v1/responses/{response_id}")).json()
    return response


async def ended(client: httpx.AsyncClient, response_id: str) -> Json:
    response: Json = {}

    async def has_ended() -> bool:
        response.update(await read(client, response_id))
        return response["status"] not in ("queued", "in_progress")

    await until(has_ended, 90)
    return response


async def steer(client: httpx.AsyncClient, response_id: str, text: str, key: str | None = None) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await client.post(f"/v1/responses/{response_id}/steer", json={"input": text}, headers=headers)


def steered(response: Json) -> list[str]:
    return [item["content"][0]["text"] for item in response["output"] if item.get("role") == "user"]


def shown(response: Json) -> list[str]:
    return [item.get("role") or item["type"] for item in response["output"]]


async def test_a_message_for_a_response_that_waits_for_a_person_is_read_behind_the_approved_call(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script(upstream, "steer an approval", calls(("c", "delete_all", {"what": "disk"})), Script(words=2))
    upstream.says("only the cache", Script(words=3))
    response = await create(client, input="steer an approval", background=True, tools=HOSTED)
    waiting: list[str] = []

    async def waits() -> bool:
        output = (await read(client, response["id"]))["output"]
        waiting[:] = [item["id"] for item in output if item["type"] == "mcp_approval_request"]
        return bool(waiting)

    await until(waits)
    assert (await steer(client, response["id"], "only the cache", "k")).status_code == 200
    await stack.flush()
    assert "user" not in shown(await read(client, response["id"])), "nothing reads it before the person has answered"
    answer = {"approval_request_id": waiting[0], "approve": True}
    assert (await client.post(f"/v1/responses/{response['id']}/approvals", json=answer)).status_code == 200
    final = await ended(client, response["id"])
    assert final["status"] == "completed", final["error"]
    assert steered(final) == ["only the cache"]
    assert shown(final)[-2:] == ["user", "assistant"]


async def test_a_message_without_a_worker_is_a_503_and_the_same_key_sends_it_once(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    for name in [name for name in stack.processes if name.startswith("worker-")]:
        await stack.kill(name)
    response = await create(client, input="steer a queued one", background=True)
    assert response["status"] == "queued"
    upstream.says("steer a queued one", Script(words=4, hold_after=2))
    refused = await steer(client, response["id"], "from the queue", "queued")
    is_error(refused, 503, "unavailable")
    assert refused.headers["retry-after"]
    assert "It is not known" in refused.json()["error"]["message"]
    await stack.flush()
    await stack.heal()
    upstream.says("from the queue", Script(words=1))
    answers = await asyncio.gather(*(steer(client, response["id"], "from the queue", "queued") for _ in range(5)))
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len({answer.json()["id"] for answer in answers}) == 1
    upstream.script_of("steer a queued one").released.set()
    assert steered(await ended(client, response["id"])) == ["from the queue"]


async def test_a_message_at_the_moment_of_the_end_is_either_accepted_and_shown_or_refused(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    found = {True: 0, False: 0}

    async def one(number: int) -> None:
        prompt, late = f"steer at the end {number}", f"late {number}"
        draft = upstream.says(prompt, Script(words=3, hold_end=True))
        upstream.says(late, Script(words=1))
        response = await create(client, input=prompt, background=True)
        await asyncio.wait_for(draft.held.wait(), 50)
        draft.released.set()
        # From before the end until behind it.
        await asyncio.sleep(0.02 * number)
        answer = await steer(client, response["id"], late)
        final = await ended(client, response["id"])
        assert final["status"] == "completed"
        assert answer.status_code in (200, 409), answer.text
        if answer.status_code == 409:
            is_error(answer, 409, "response_ended")
        assert steered(final) == ([late] if answer.status_code == 200 else [])
        assert shown(final)[-1] == "assistant"
        found[answer.status_code == 200] += 1

    for begin in range(0, 24, 6):
        await asyncio.gather(*(one(number) for number in range(begin, begin + 6)))
    assert found[True] + found[False] == 24
    # The last one came half a second behind the end.
    assert found[False]


async def test_a_thousand_messages_are_eight_that_wait_and_clear_refusals(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    draft = upstream.says("steer a thousand times", Script(words=3, hold_end=True))
    response = await create(client, input="steer a thousand times", background=True)
    await asyncio.wait_for(draft.held.wait(), 50)
    at_once = asyncio.Semaphore(40)

    async def one(number: int) -> httpx.Response:
        async with at_once:
            return await steer(client, response["id"], f"message {number}")

    answers = await asyncio.gather(*(one(number) for number in range(1000)))
    accepted = [f"message {number}" for number, answer in enumerate(answers) if answer.status_code == 200]
    assert len(accepted) == MAX_WAITING_STEERS
    for answer in answers:
        if answer.status_code != 200:
            is_error(answer, 429, "too_many_pending_steers")
    for text in accepted:
        upstream.says(text, Script(words=1))
    draft.released.set()
    final = await ended(client, response["id"])
    assert sorted(steered(final)) == sorted(accepted)


async def test_messages_are_read_once_each_while_new_runs_of_the_workflow_take_over(
    tmp_path: Path, upstream: Upstream
) -> None:
    turns = 40
    script(
        upstream,
        "steer a long run",
        *(calls((f"c{number}", "get_weather", {"city": f"city {number}"})) for number in range(turns)),
        Script(words=2),
    )
    async with (
        small_stack(tmp_path, upstream, temporal={"limit.historyCount.suggestContinueAsNew": 60}) as stack,
        client_of(stack) as client,
    ):
        response = await create(client, input="steer a long run", background=True, tools=HOSTED)
        accepted, refused = list[str](), list[httpx.Response]()
        number = 0
        # Not beside the last answer, which each of them would make the last but one.
        while (now := await read(client, response["id"]))["status"] in ("queued", "in_progress"):
            if len(now["output"]) > turns:
                await asyncio.sleep(0.2)
                continue
            text = f"message {number}"
            # The fake answers by the newest message: go on with the tools behind each.
            upstream.scripts[text] = upstream.script_of("steer a long run")
            answer = await steer(client, response["id"], text, key=text)
            (accepted.append(text) if answer.status_code == 200 else refused.append(answer))
            number += 1
        final = await ended(client, response["id"])
        events = [event async for event in events_of(client, resume=(response["id"], None))]
        temporal = await Client.connect(stack.temporal_address)
        runs = [run async for run in temporal.list_workflows(f"WorkflowId = '{response['id']}'")]
        again = await steer(client, response["id"], accepted[0], key=accepted[0])
    assert final["status"] == "completed", final["error"]
    assert len(runs) > 3
    assert steered(final) == accepted
    assert again.status_code == 200
    assert accepted
    for answer in refused:
        assert answer.json()["error"]["code"] in ("too_many_pending_steers", "response_ended"), answer.text
    check_whole(events, "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta"))


async def test_openais_client_is_told_that_a_message_waits_for_its_outputs_and_they_are_read_together(
    stack: Stack, upstream: Upstream
) -> None:
    asking = upstream.says("steer behind my call", calls(("c", "mine", {}), hold_end=True))
    upstream.says("and be brief, please", Script(words=2))
    mine: Any = {"type": "function", "name": "mine", "parameters": {"type": "object"}, "strict": None}
    sdk = AsyncOpenAI(base_url=f"{stack.api_url}/openai/v1", api_key="none")
    async with sdk.responses.connect() as connection:
        await connection.response.create(model="fake", input="steer behind my call", tools=[mine], store=False)
        seen: list[Any] = []
        async for event in connection:
            seen.append(event)
            if event.type == "response.created":
                await asyncio.wait_for(asking.held.wait(), 50)
                await connection.response.steer(input="and be brief, please", previous_response_id=event.response.id)
            if event.type == "response.steer.accepted":
                asking.released.set()
            if event.type == "response.steer.pending":
                break
        assert seen[-2].type == "response.completed", "it follows the end"
        pending, response = seen[-1], seen[-2].response
        accepted = next(event for event in seen if event.type == "response.steer.accepted")
        assert pending.steer.id == accepted.steer.id
        assert pending.reason == "waiting_for_required_input"
        (required,) = pending.required_input
        assert (required.type, required.name) == ("function_call_output", "mine")
        output: Any = {**required.model_dump(include={"type", "call_id"}), "output": "42"}
        await connection.response.create(
            model="fake", input=[output], tools=[mine], previous_response_id=response.id, store=False
        )
        async for event in connection:
            if event.type == "response.completed":
                assert event.response.output_text.split() == ["w0", "w1"]
                break
    roles = [message["role"] for message in upstream.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]
