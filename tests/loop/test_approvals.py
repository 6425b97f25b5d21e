"""An approval is one person's word on one stored call: it cannot be used twice, elsewhere, or be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis

from open_responses.context.transcript import USED_ALREADY
from open_responses.ids import new_id
from open_responses.loop.payloads.approvals import ApprovalClaim, Decision
from open_responses.loop.payloads.names import APPROVAL_WORKFLOW, TASK_QUEUE
from open_responses.tool_use.tool_items import approval_workflow_id
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.mcp_requests import GUARDED, ask
from tests.support.operator import console
from tests.support.responses_http import ended
from tests.support.scripts import HOSTED, outputs, script, types
from tests.support.stack import Stack, until

Json = dict[str, Any]


def deletions(stack: Stack, what: str) -> int:
    """How often the guarded tool ran on this."""
    file = stack.data / "hosted" / "deleted"
    return sum(line.endswith(f" {what}") for line in file.read_text().splitlines()) if file.exists() else 0


def word(approval_request_id: str, *, approve: bool = True) -> Json:
    return {"type": "mcp_approval_response", "approval_request_id": approval_request_id, "approve": approve}


def continued(asked: Json, *words: Json, tools: Sequence[Json] = HOSTED, **settings: Any) -> Json:
    return {"model": "fake", "previous_response_id": asked["id"], "input": words, "tools": tools, **settings}


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def ask_to_delete(client: httpx.AsyncClient, upstream: Upstream, *what: str) -> Json:
    wanted = [(f"c{i}", "delete_all", {"what": one}) for i, one in enumerate(what)]
    script(upstream, f"delete {what}", calls(*wanted), Script(words=2))
    body = {"model": "fake", "input": f"delete {what}", "tools": HOSTED}
    answer: Json = (await client.post("/v1/responses", json=body)).json()
    return answer


@pytest.mark.parametrize("approve", [True, False])
async def test_a_live_answer_is_the_last_word_even_after_a_flush(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, approve: bool
) -> None:
    what = f"live {approve}"
    script(upstream, what, calls(("c", "delete_all", {"what": what})), Script(words=2))
    body = {"model": "fake", "input": what, "tools": HOSTED, "background": True}
    url = f"/v1/responses/{(await client.post('/v1/responses', json=body)).json()['id']}"

    async def now() -> Json:
        response: Json = (await client.get(url)).json()
        return response

    async def asks() -> bool:
        return types(await now()) == ["mcp_approval_request"]

    async def has_ended() -> bool:
        return (await now())["status"] == "completed"

    await until(asks)
    request = (await now())["output"][0]
    live = {"approval_request_id": request["id"], "approve": approve}
    answers = await asyncio.gather(*(client.post(f"{url}/approvals", json=live) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    await until(has_ended)
    ended = await now()
    for _ in range(2):
        again = await client.post("/v1/responses", json=continued(ended, word(request["id"])))
        assert code_of(again) == (409, "approval_already_answered")
        await stack.flush()
    assert deletions(stack, what) == (1 if approve else 0)


async def asks_live(
    client: httpx.AsyncClient, upstream: Upstream, what: str, *wanted: Any, tools: Any = HOSTED
) -> Json:
    """A background response that waits for the approvals of these calls."""
    script(upstream, what, calls(*wanted), Script(words=2))
    body = {"model": "fake", "input": what, "tools": tools, "background": True}
    response: Json = (await client.post("/v1/responses", json=body)).json()

    async def asks() -> bool:
        response.update((await client.get(f"/v1/responses/{response['id']}")).json())
        return types(response).count("mcp_approval_request") == len(wanted)

    await until(asks)
    return response


@pytest.mark.parametrize("approve", [True, False])
async def test_a_live_answer_leaves_the_record_that_an_answer_in_a_later_response_leaves(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, approve: bool
) -> None:
    what = f"recorded {approve}"
    asking = await asks_live(client, upstream, what, ("c", "delete_all", {"what": what}))
    live = {"approval_request_id": asking["output"][0]["id"], "approve": approve, "reason": "because"}
    url = f"/v1/responses/{asking['id']}/approvals"
    assert (await client.post(url, json=live)).status_code == 200
    temporal = await console(stack)
    record = temporal.get_workflow_handle(approval_workflow_id(live["approval_request_id"]))
    events = [event async for event in record.fetch_history_events()]
    payloads = events[0].workflow_execution_started_event_attributes.input.payloads
    (claim,) = await temporal.data_converter.decode(payloads, [ApprovalClaim])
    decision = Decision.without_call(live["approval_request_id"], approve)
    assert claim == ApprovalClaim.of(asking["id"], decision, None)
    response = await ended(client, asking["id"])
    assert response["status"] == "completed"
    assert deletions(stack, what) == (1 if approve else 0)


@pytest.mark.parametrize("approve", [True, False])
async def test_a_live_answer_to_an_approval_that_another_response_has_used_runs_nothing(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, approve: bool
) -> None:
    what = f"used before {approve}"
    wanted = [("a", "delete_all", {"what": what}), ("b", "delete_all", {"what": f"{what}, beside"})]
    asking = await asks_live(client, upstream, what, *wanted)
    used, beside = (item["id"] for item in asking["output"])
    await use_up(stack, used)
    answers = await asyncio.gather(
        *(
            client.post(f"/v1/responses/{asking['id']}/approvals", json={"approval_request_id": one, "approve": yes})
            for one, yes in ((used, approve), (beside, True))
        )
    )
    assert code_of(answers[0]) == (409, "approval_already_answered")
    assert answers[1].status_code == 200
    response = await ended(client, asking["id"])
    assert response["status"] == "completed"
    assert sorted(outputs(response)) == [USED_ALREADY, f"deleted {what}, beside"]
    assert (deletions(stack, what), deletions(stack, f"{what}, beside")) == (0, 1)


async def test_a_live_answer_to_a_used_approval_makes_no_call_to_an_mcp_server(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    asking = await asks_live(client, upstream, "used sum", ("a", "add", {"a": 1, "b": 2}), tools=[GUARDED])
    approval_id = asking["output"][-1]["id"]
    await use_up(stack, approval_id)
    answer = {"approval_request_id": approval_id, "approve": True}
    assert code_of(await client.post(f"/v1/responses/{asking['id']}/approvals", json=answer)) == (
        409,
        "approval_already_answered",
    )
    response = await ended(client, asking["id"])
    (call,) = [item for item in response["output"] if item["type"] == "mcp_call"]
    assert (response["status"], call["status"], call["output"]) == ("completed", "failed", None)
    assert call["error"] == {"type": "approval_already_answered", "content": USED_ALREADY}


async def use_up(stack: Stack, approval_id: str) -> None:
    """As another response does that acts on this approval."""
    claim = ApprovalClaim.of(new_id("resp_"), Decision.without_call(approval_id, approve=True), None)
    await (await console(stack)).start_workflow(
        APPROVAL_WORKFLOW, claim, id=approval_workflow_id(approval_id), task_queue=TASK_QUEUE
    )


async def test_an_approval_is_used_once_even_at_once_and_after_a_flush(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    asked = await ask_to_delete(client, upstream, "at once")
    body = continued(asked, word(asked["output"][0]["id"]))
    answers = await asyncio.gather(*(client.post("/v1/responses", json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    await stack.flush()
    assert code_of(await client.post("/v1/responses", json=body)) == (409, "approval_already_answered")
    assert deletions(stack, "at once") == 1


@pytest.mark.campaign
async def test_two_requests_with_one_approval_run_it_once_when_redis_forgets_in_between(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Both are started, and only one of them gets the approval."""
    asked = await ask_to_delete(client, upstream, "forgotten")
    body = continued(asked, word(asked["output"][0]["id"]))
    for name in ("worker-0", "worker-1"):
        await stack.kill(name)
    first = asyncio.create_task(client.post("/v1/responses", json=body))
    redis = aioredis.Redis.from_url(stack.redis_url)
    await until(lambda: _exists(redis, f"or:approval:{asked['output'][0]['id']}"))
    await asyncio.sleep(0.5)
    await redis.delete(f"or:approval:{asked['output'][0]['id']}")
    await redis.aclose()
    second = asyncio.create_task(client.post("/v1/responses", json=body))
    await asyncio.sleep(0.5)
    await stack.heal()
    ended = [(await task).json() for task in (first, second)]
    assert sorted(response["status"] for response in ended) == ["completed", "failed"]
    (failed,) = [response for response in ended if response["status"] == "failed"]
    assert failed["error"]["code"] == "approval_already_answered"
    assert deletions(stack, "forgotten") == 1


async def _exists(redis: aioredis.Redis, key: str) -> bool:
    return bool(await redis.exists(key))


async def test_an_approval_beside_a_used_one_is_not_lost(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    asked = await ask_to_delete(client, upstream, "A", "B")
    a, b = (word(item["id"]) for item in asked["output"])
    assert outputs((await client.post("/v1/responses", json=continued(asked, b))).json()) == ["deleted B"]
    both = await client.post("/v1/responses", json=continued(asked, a, b))
    assert code_of(both) == (409, "approval_already_answered")
    alone = await client.post("/v1/responses", json=continued(asked, a))
    assert outputs(alone.json()) == ["deleted A"]
    assert (deletions(stack, "A"), deletions(stack, "B")) == (1, 1)


@pytest.mark.campaign
async def test_an_approval_given_while_temporal_is_down_can_be_given_again(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    asked = await ask_to_delete(client, upstream, "in an outage")
    body = continued(asked, word(asked["output"][0]["id"]))
    await stack.kill("temporal")
    refused = await client.post("/v1/responses", json=body, timeout=90)
    assert refused.status_code == 503, refused.text
    await stack.heal()
    assert outputs((await client.post("/v1/responses", json=body)).json()) == ["deleted in an outage"]
    assert deletions(stack, "in an outage") == 1


async def test_a_clients_function_of_the_same_name_does_not_spend_an_approval(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    asked = await ask_to_delete(client, upstream, "namesake")
    mine = {"type": "function", "name": "delete_all", "parameters": {"type": "object"}}
    request = word(asked["output"][0]["id"])
    namesake = await client.post("/v1/responses", json=continued(asked, request, tools=[mine]))
    assert code_of(namesake) == (400, "missing_tool")
    assert outputs((await client.post("/v1/responses", json=continued(asked, request))).json()) == ["deleted namesake"]


@pytest.mark.parametrize(
    ("tool", "settings"),
    [
        ({"allowed_tools": ["count"]}, {}),
        ({"allowed_tools": {"read_only": False}}, {}),
        ({}, {"tool_choice": "none"}),
        (
            {},
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "mcp", "server_label": "calc", "name": "count"}],
                }
            },
        ),
    ],
)
async def test_an_approved_call_stays_within_what_its_new_request_allows(
    client: httpx.AsyncClient, upstream: Upstream, tool: Json, settings: Json
) -> None:
    asked = await ask(client, upstream, f"allow {tool} {settings}", GUARDED, ("c", "add", {"a": 1, "b": 2}))
    request = word(asked["output"][1]["id"])
    body = continued(asked, request, tools=[{**GUARDED, **tool}], **settings)
    assert code_of(await client.post("/v1/responses", json=body)) == (400, "tool_not_allowed")
    wider = {**GUARDED, "allowed_tools": {"read_only": True, "tool_names": ["add"]}}
    ran = (await client.post("/v1/responses", json=continued(asked, request, tools=[wider]))).json()
    assert ran["output"][0]["output"] == "3"


async def test_an_approval_is_for_the_server_that_was_asked_about(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    asked = await ask(client, upstream, "another server", GUARDED, ("c", "add", {"a": 1, "b": 2}))
    elsewhere = {**GUARDED, "server_url": f"{stack.mcp_url}/other"}
    body = continued(asked, word(asked["output"][1]["id"]), tools=[elsewhere])
    assert code_of(await client.post("/v1/responses", json=body)) == (400, "missing_tool")


@pytest.mark.parametrize("tools", [HOSTED, [GUARDED], [{"type": "function", "name": "delete_all"}]])
async def test_a_response_that_is_not_stored_cannot_ask(client: httpx.AsyncClient, tools: list[Json]) -> None:
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "x", "tools": tools, "store": False})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "store")


async def test_a_denial_in_a_conversation_that_the_client_keeps_is_history(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    asked = await ask_to_delete(client, upstream, "never")
    denied = word(asked["output"][0]["id"], approve=False)
    first = (await client.post("/v1/responses", json=continued(asked, denied))).json()
    kept = [{"role": "user", "content": "x"}, *asked["output"], denied, *first["output"]]
    body = {"model": "fake", "input": [*kept, {"role": "user", "content": "and now"}], "tools": HOSTED}
    assert (await client.post("/v1/responses", json=body)).json()["status"] == "completed"
    turned = [*kept[:2], word(asked["output"][0]["id"])]
    assert code_of(await client.post("/v1/responses", json={**body, "input": turned})) == (
        409,
        "approval_already_answered",
    )
