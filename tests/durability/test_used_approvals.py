"""The record that an approval was used: it has nothing of the call, and it lasts for as long as the approval is found.

The server keeps a response for `OPEN_RESPONSES_RESPONSE_TTL_SECONDS`, and Temporal a workflow that has closed for its
retention, which may be much shorter. An approval whose record is forgotten earlier than the response that asks for it
could be used a second time.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.lifecycle.claim_approvals import ClaimActivity
from open_responses.ids import new_id
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, connect
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import data_converter
from open_responses.loop.payloads.approvals import ApprovalClaim, ClaimInput, Decision
from open_responses.loop.payloads.finish import Progress
from open_responses.loop.payloads.names import APPROVAL_WORKFLOW, TASK_QUEUE
from open_responses.tool_use.tool_items import approval_workflow_id
from tests.support import temporal_client
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.operator import HOSTED, turns
from tests.support.stack import Stack, until
from tests.support.temporal_contents import contents_since

pytestmark = pytest.mark.campaign

Json = dict[str, Any]


@pytest_asyncio.fixture
async def temporal(stack: Stack) -> Client:
    return await temporal_client.client_of_temporal(stack)


async def ask_to_delete(client: httpx.AsyncClient, upstream: Upstream, what: str) -> Json:
    """A response that ended with a request for an approval."""
    turns(upstream, f"delete {what}", calls(("c", "delete_all", {"what": what})), Script(words=2))
    answer = await client.post("/v1/responses", json={"model": "fake", "input": f"delete {what}", "tools": HOSTED})
    asked: Json = answer.json()
    assert asked["output"][0]["type"] == "mcp_approval_request"
    return asked


def answering(asked: Json, **answer: Any) -> Json:
    word = {"type": "mcp_approval_response", "approval_request_id": asked["output"][0]["id"], **answer}
    return {"model": "fake", "previous_response_id": asked["id"], "input": [word], "tools": HOSTED}


def times_deleted(stack: Stack, what: str) -> int:
    """How often the guarded tool ran on this."""
    return sum(line.endswith(f" {what}") for line in (stack.data / "hosted" / "deleted").read_text().splitlines())


def record_of(temporal: Client, asked: Json) -> WorkflowHandle[Any, Any]:
    return temporal.get_workflow_handle(approval_workflow_id(asked["output"][0]["id"]))


async def is_unknown(temporal: Client, workflow_id: str) -> bool:
    try:
        await temporal.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        return error.status == RPCStatusCode.NOT_FOUND
    return False


# --- what it keeps


@pytest.mark.parametrize("approve", [True, False])
async def test_nothing_of_a_call_is_left_in_temporal_once_the_responses_are_deleted(
    client: httpx.AsyncClient, stack: Stack, temporal: Client, upstream: Upstream, approve: bool
) -> None:
    began, what, reason = datetime.now(UTC), f"all of the payroll {approve}", f"the accountant is away {approve}"
    asked = await ask_to_delete(client, upstream, what)
    answer = await client.post("/v1/responses", json=answering(asked, approve=approve, reason=reason))
    used = answer.json()
    assert used["status"] == "completed", used
    before = await contents_since(temporal, began)
    assert what.encode() in before[asked["id"]]
    assert what.encode() in before[used["id"]]
    assert reason.encode() in before[used["id"]]
    for response_id in (used["id"], asked["id"]):
        assert (await client.delete(f"/v1/responses/{response_id}")).status_code == 200
    for response_id in (used["id"], asked["id"]):

        async def is_gone(response_id: str = response_id) -> bool:
            return await is_unknown(temporal, response_id)

        await until(is_gone, 90)
    left = await contents_since(temporal, began)
    record = left[record_of(temporal, asked).id]
    assert used["id"].encode() in record
    for content in (what, reason, "delete_all"):
        assert [id for id, found in left.items() if content.encode() in found] == []


async def test_nothing_of_a_live_answer_is_left_in_temporal_once_the_response_is_deleted(
    client: httpx.AsyncClient, temporal: Client, upstream: Upstream
) -> None:
    began, what, reason = datetime.now(UTC), "all of the invoices", "the auditor is away"
    turns(upstream, f"delete {what}", calls(("c", "delete_all", {"what": what})), Script(words=2))
    body = {"model": "fake", "input": f"delete {what}", "tools": HOSTED, "background": True}
    url = f"/v1/responses/{(await client.post('/v1/responses', json=body)).json()['id']}"
    response: Json = {}

    async def asks() -> bool:
        response.update((await client.get(url)).json())
        return bool(response["output"])

    await until(asks)
    answer = {"approval_request_id": response["output"][0]["id"], "approve": True, "reason": reason}
    assert (await client.post(f"{url}/approvals", json=answer)).status_code == 200

    async def has_ended() -> bool:
        return bool((await client.get(url)).json()["status"] == "completed")

    await until(has_ended)
    before = await contents_since(temporal, began)
    assert [content for content in (what, reason) if content.encode() not in before[response["id"]]] == []
    assert (await client.delete(url)).status_code == 200
    await until(lambda: is_unknown(temporal, response["id"]), 90)
    left = await contents_since(temporal, began)
    for content in (what, reason):
        assert [id for id, found in left.items() if content.encode() in found] == []


async def test_no_file_of_a_large_call_is_left_once_the_responses_are_deleted(
    client: httpx.AsyncClient, stack: Stack, temporal: Client, upstream: Upstream
) -> None:
    """Large payloads are files, in a folder of their response; of any other workflow's, nobody removes them."""

    own: list[str] = []

    def files() -> set[str]:
        """Without those that responses of other tests may still write."""
        found = [path.relative_to(stack.data / "blobs") for path in (stack.data / "blobs").rglob("*") if path.is_file()]
        others = [path for path in found if path.parts[0].startswith(("resp_", "conv_")) and path.parts[0] not in own]
        return {str(path) for path in found if path.parts[0] != "erased" and path not in others}

    before = files()
    # Hexadecimal digits compress to half of their length; beyond 128 KiB a payload is a file.
    asked = await ask_to_delete(client, upstream, random.Random(7).randbytes(200 * 1024).hex())
    used = (await client.post("/v1/responses", json=answering(asked, approve=True))).json()
    assert used["status"] == "completed", used["error"]
    own += [used["id"], asked["id"]]
    assert any(used["id"] in path for path in files())
    for response_id in own:
        assert (await client.delete(f"/v1/responses/{response_id}")).status_code == 200

    async def none_is_left() -> bool:
        return files() <= before

    await until(none_is_left, 90)


OLD_CLAIM = {
    "response_id": "resp_" + "0" * 48,
    "decision": {
        "approval_request_id": "mcpr_" + "0" * 53,
        "server_label": "open_responses",
        "name": "delete_all",
        "arguments": '{"what": "x"}',
        "approve": True,
        "reason": "because",
    },
}
"""As earlier versions wrote it, with all of the call."""


def test_a_record_of_an_earlier_version_is_read_and_not_written_again_with_the_call() -> None:
    claim = ApprovalClaim.model_validate(OLD_CLAIM)
    kept = ApprovalClaim.of(claim.response_id, claim.decision, claim.nonce).model_dump_json()
    assert (OLD_CLAIM["response_id"] in kept, "mcpr_" in kept) == (True, True)
    assert not any(content in kept for content in ("open_responses", "delete_all", "what", "because"))


# --- who has used it


def decided(approval: str, *, approve: bool) -> Decision:
    return Decision(approval_request_id=approval, server_label="x", name="x", arguments="{}", approve=approve)


class Claims:
    """The activity, in the test's process."""

    def __init__(self, temporal: Client, redis: Redis) -> None:
        self._activity = ClaimActivity(temporal, ResponseStore(redis, ttl_seconds=600, log_ttl_seconds=600))

    async def takes(self, approval: str, response_id: str, nonce: str | None = None, *, approve: bool = True) -> bool:
        call = ClaimInput(response_id=response_id, decisions=[decided(approval, approve=approve)], nonce=nonce)
        result = await self._activity.claim(call)
        assert result.refused in ([], [approval])
        return not result.refused


async def test_a_response_that_takes_an_approval_again_has_it_and_another_response_or_answer_does_not(
    temporal: Client, redis: Redis
) -> None:
    claims, approval, first = Claims(temporal, redis), new_id("mcpr_"), new_id("resp_")
    assert [await claims.takes(approval, first) for _ in range(2)] == [True, True]
    assert not await claims.takes(approval, new_id("resp_"))
    assert not await claims.takes(approval, first, approve=False)
    assert await claims.takes(approval, first)


async def test_a_second_response_of_one_idempotency_key_does_not_use_the_approval_of_the_first(
    temporal: Client, redis: Redis
) -> None:
    """The id follows from the key. Where the first was deleted, and the tombstone has expired, a second one begins."""
    claims, approval, response_id = Claims(temporal, redis), new_id("mcpr_"), new_id("resp_")
    assert await claims.takes(approval, response_id, "first")
    assert await claims.takes(approval, response_id, "first")
    assert not await claims.takes(approval, response_id, "second")


async def test_a_response_that_begins_again_under_the_id_of_a_deleted_one_does_not_run_the_approved_call_again(
    client: httpx.AsyncClient, stack: Stack, temporal: Client, redis: Redis, upstream: Upstream
) -> None:
    asked, head = await ask_to_delete(client, upstream, "under one key"), {"idempotency-key": "used approval"}
    body, marks = answering(asked, approve=True), ErasureMarks(stack.data / "blobs")
    used = (await client.post("/v1/responses", json=body, headers=head)).json()
    assert used["status"] == "completed", used["error"]
    assert (await client.delete(f"/v1/responses/{used['id']}")).status_code == 200

    async def is_deleted() -> bool:
        return used["id"] not in marks.promised()

    await until(is_deleted, 90)
    # A day later.
    await redis.delete(key_names.record(used["id"]), key_names.state(used["id"]))
    (stack.data / "blobs" / "erased" / used["id"]).unlink()
    again = (await client.post("/v1/responses", json=body, headers=head)).json()
    assert (again["id"], again["status"]) == (used["id"], "failed")
    assert again["error"]["code"] == "approval_already_answered"
    assert times_deleted(stack, "under one key") == 1


async def test_the_record_of_an_earlier_version_is_honoured(temporal: Client, redis: Redis) -> None:
    claims, approval, first = Claims(temporal, redis), new_id("mcpr_"), new_id("resp_")
    old = {**OLD_CLAIM, "response_id": first}
    await temporal.start_workflow(APPROVAL_WORKFLOW, old, id=approval_workflow_id(approval), task_queue=TASK_QUEUE)
    assert await claims.takes(approval, first)
    assert await claims.takes(approval, first, "began with an Idempotency-Key")
    assert not await claims.takes(approval, new_id("resp_"))


async def test_a_record_that_cannot_be_decrypted_any_more_is_another_response_s(
    stack: Stack, temporal: Client, redis: Redis
) -> None:
    """Its key may have been retired. The approval was used all the same."""
    approval, first = new_id("mcpr_"), new_id("resp_")
    encrypting = await Client.connect(stack.temporal_address, data_converter=data_converter(stack.data, [b"k" * 32]))
    assert await Claims(encrypting, redis).takes(approval, first)
    assert not await Claims(temporal, redis).takes(approval, new_id("resp_"))


# --- how long


async def forget_what_has_closed(temporal: Client, record: WorkflowHandle[Any, Any]) -> None:
    """What Temporal does at the end of its retention: it deletes a workflow that has closed, and no other."""
    if (await record.describe()).status == WorkflowExecutionStatus.RUNNING:
        return
    request = DeleteWorkflowExecutionRequest(
        namespace=temporal.namespace, workflow_execution=WorkflowExecution(workflow_id=record.id)
    )
    await temporal.workflow_service.delete_workflow_execution(request)

    async def is_gone() -> bool:
        return await is_unknown(temporal, record.id)

    await until(is_gone, 90)


async def _loses_the_mark(client: httpx.AsyncClient, stack: Stack, redis: Redis, asked: Json) -> None:
    """Redis was away when the approval was used, or fails over to a replica that had not received the mark."""
    assert await redis.delete(key_names.approval(asked["output"][0]["id"])) == 1


async def _loses_all(client: httpx.AsyncClient, stack: Stack, redis: Redis, asked: Json) -> None:
    """Everything: a reader then brings the asking response back from Temporal, with a new time to live."""
    await stack.flush()
    assert (await client.get(f"/v1/responses/{asked['id']}")).status_code == 200


@pytest.mark.parametrize("loses", [_loses_the_mark, _loses_all], ids=["the mark alone", "all of Redis"])
async def test_an_approval_is_used_once_although_redis_has_lost_its_mark_and_temporals_retention_has_ended(
    client: httpx.AsyncClient,
    stack: Stack,
    temporal: Client,
    redis: Redis,
    upstream: Upstream,
    loses: Callable[[httpx.AsyncClient, Stack, Redis, Json], Awaitable[None]],
) -> None:
    what = f"once {loses.__name__}"
    asked = await ask_to_delete(client, upstream, what)
    assert (await client.post("/v1/responses", json=answering(asked, approve=True))).json()["status"] == "completed"
    await loses(client, stack, redis, asked)
    await forget_what_has_closed(temporal, record_of(temporal, asked))
    again = await client.post("/v1/responses", json=answering(asked, approve=True))
    assert times_deleted(stack, what) == 1
    assert (again.status_code, again.json()["error"]["code"]) == (409, "approval_already_answered")


async def test_the_record_is_open_for_longer_than_the_response_that_asked_is_kept(
    client: httpx.AsyncClient, temporal: Client, redis: Redis, upstream: Upstream
) -> None:
    """A workflow that is open is not subject to retention."""
    asked = await ask_to_delete(client, upstream, "for long")
    assert (await client.post("/v1/responses", json=answering(asked, approve=True))).json()["status"] == "completed"
    record = await record_of(temporal, asked).describe()
    assert record.status == WorkflowExecutionStatus.RUNNING
    assert record.execution_time is not None
    kept_for = await redis.ttl(key_names.record(asked["id"]))
    assert kept_for > 0
    assert record.execution_time.timestamp() > datetime.now(UTC).timestamp() + kept_for


async def test_an_approval_that_is_taken_while_redis_is_away_is_taken_for_good(temporal: Client, redis: Redis) -> None:
    approval, first = new_id("mcpr_"), new_id("resp_")
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        away = connect(f"redis://127.0.0.1:{nobody_listens.getsockname()[1]}/0")
        try:
            assert await Claims(temporal, away).takes(approval, first)
        finally:
            await away.aclose()
    assert not await redis.exists(key_names.approval(approval))
    await forget_what_has_closed(temporal, temporal.get_workflow_handle(approval_workflow_id(approval)))
    assert not await Claims(temporal, redis).takes(approval, new_id("resp_"))


@pytest.mark.parametrize("act", ["cancel", "terminate"])
async def test_an_operator_who_ends_the_record_does_not_free_the_approval(
    temporal: Client, redis: Redis, act: str
) -> None:
    claims, approval, first = Claims(temporal, redis), new_id("mcpr_"), new_id("resp_")
    assert await claims.takes(approval, first)
    record = temporal.get_workflow_handle(approval_workflow_id(approval))
    await getattr(record, act)()

    async def has_closed() -> bool:
        return (await record.describe()).status != WorkflowExecutionStatus.RUNNING

    await until(has_closed, 60)
    assert not await claims.takes(approval, new_id("resp_"))
    assert await claims.takes(approval, first)


@pytest.mark.parametrize("is_flushed", [False, True])
async def test_a_live_answer_is_the_last_one_also_where_an_operator_terminates_the_response_behind_it(
    client: httpx.AsyncClient, stack: Stack, temporal: Client, upstream: Upstream, is_flushed: bool
) -> None:
    """It is known by the call in the response's output, and by its record in Temporal."""
    what = f"live and terminated {is_flushed}"
    turns(upstream, f"delete {what}", calls(("c", "delete_all", {"what": what})), Script(words=500, gap=0.1))
    body = {"model": "fake", "input": f"delete {what}", "tools": HOSTED, "background": True}
    url = f"/v1/responses/{(await client.post('/v1/responses', json=body)).json()['id']}"
    response: Json = {}

    async def has(kind: str) -> bool:
        response.update((await client.get(url)).json())
        return any(item["type"] == kind for item in response["output"])

    await until(lambda: has("mcp_approval_request"))
    answer = {"approval_request_id": response["output"][0]["id"], "approve": True}
    assert (await client.post(f"{url}/approvals", json=answer)).status_code == 200
    await until(lambda: has("function_call_output"))
    if is_flushed:
        await stack.flush()
    await temporal.get_workflow_handle(response["id"]).terminate()

    async def has_ended() -> bool:
        response.update((await client.get(url)).json())
        return bool(response["status"] == "failed")

    await until(has_ended, 60)
    assert response["error"]["code"] == "run_terminated"
    again = await client.post("/v1/responses", json=answering(response, approve=True))
    assert times_deleted(stack, what) == 1
    assert (again.status_code, again.json()["error"]["code"]) == (409, "approval_already_answered")


@pytest.mark.parametrize("approve", [True, False])
async def test_a_live_answer_is_the_last_one_also_where_redis_never_received_its_call(
    client: httpx.AsyncClient, stack: Stack, temporal: Client, upstream: Upstream, approve: bool
) -> None:
    """Redis is away while the call is published, and an operator terminates the run before Redis is back."""
    what = f"live and unpublished {approve}"
    turns(upstream, f"delete {what}", calls(("c", "delete_all", {"what": what})), Script(words=500, gap=0.1))
    body = {"model": "fake", "input": f"delete {what}", "tools": HOSTED, "background": True}
    url = f"/v1/responses/{(await client.post('/v1/responses', json=body)).json()['id']}"
    response: Json = {}

    async def is_asked() -> bool:
        response.update((await client.get(url)).json())
        return bool(response["output"])

    await until(is_asked)
    run = temporal.get_workflow_handle(response["id"])
    answer = {"approval_request_id": response["output"][0]["id"], "approve": approve}

    async def is_waiting() -> bool:
        """The request is in the log before the run has the turn's result, and waits for an answer."""
        return bool((await run.query("progress", result_type=Progress)).output)

    await until(is_waiting)
    await stack.kill("valkey")
    await run.execute_update("answer_approval", answer)

    async def is_acted_on() -> bool:
        progress = await run.query("progress", result_type=Progress)
        items = [item for item in progress.output if item["type"] == "function_call_output"]
        return bool(items) and items[0]["status"] == "completed"

    await until(is_acted_on, 90)
    await run.terminate()
    # A worker would publish the call once Redis is back.
    for name in ("worker-0", "worker-1"):
        await stack.kill(name)
    await stack.heal()

    async def has_ended() -> bool:
        got = await client.get(url)
        response.update(got.json())
        return got.status_code == 200 and response["status"] == "failed"

    await until(has_ended, 90)
    assert response["error"]["code"] == "run_terminated"
    assert [item["type"] for item in response["output"]] == ["mcp_approval_request"]
    again = await client.post("/v1/responses", json=answering(response, approve=True))
    assert times_deleted(stack, what) == (1 if approve else 0)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "approval_already_answered")
