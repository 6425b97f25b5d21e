"""The search attributes of a response's run: an operator filters and sorts responses by them in Temporal."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from open_responses.io.temporal.search_attributes import NamespaceAttributes
from open_responses.loop.search_attributes import SEARCH_ATTRIBUTES, called_tools
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.operator import HOSTED, console, turns
from tests.support.stack import Stack, until


async def _attributes(stack: Stack, response_id: str) -> dict[str, Any]:
    """Ours, by the last part of their names."""
    described = await (await console(stack)).get_workflow_handle(response_id).describe()
    return {
        pair.key.name.removeprefix("OpenResponses"): pair.value
        for pair in described.typed_search_attributes
        if pair.key.name.startswith("OpenResponses")
    }


async def _listed(stack: Stack, query: str) -> set[str]:
    return {run.id async for run in (await console(stack)).list_workflows(query)}


async def test_a_run_has_the_conversation_the_tools_and_the_tokens_of_its_response(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    wanted = calls(("a", "get_weather", {"city": "Rome"}), ("b", "get_weather", {"city": "Oslo"}))
    turns(upstream, "attributes of tools", wanted, Script(words=3))
    body = {"model": "fake", "input": "attributes of tools", "tools": HOSTED, "conversation": conversation}
    response = (await client.post("/v1/responses", json=body)).json()
    assert response["status"] == "completed"

    async def are_final() -> bool:
        return (await _attributes(stack, response["id"]))["Status"] == "completed"

    await until(are_final, 30)
    assert await _attributes(stack, response["id"]) == {
        "Model": "fake",
        "Provider": "fake",
        "Tenant": "default",
        "Status": "completed",
        "Conversation": conversation,
        "Tools": ["get_weather"],
        "Tokens": response["usage"]["total_tokens"],
    }

    async def is_listed() -> bool:
        query = (
            f"OpenResponsesTools = 'get_weather' AND OpenResponsesConversation = '{conversation}' "
            f"AND OpenResponsesTokens >= {response['usage']['total_tokens']}"
        )
        return await _listed(stack, query) == {response["id"]}

    await until(is_listed, 30)


@pytest.mark.campaign
async def test_a_failed_response_has_its_code_and_one_that_fell_back_its_new_provider(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("attributes of a failure", Script(faults=[Fault(status=400)]))
    failed = (await client.post("/v1/responses", json={"model": "fake", "input": "attributes of a failure"})).json()
    assert failed["status"] == "failed"

    async def has_code() -> bool:
        return (await _attributes(stack, failed["id"])).get("ErrorCode") == failed["error"]["code"]

    await until(has_code, 30)
    fell_back = (await client.post("/v1/responses", json={"model": "falls-back", "input": "hello"})).json()
    assert fell_back["status"] == "completed"
    shown = await _attributes(stack, fell_back["id"])
    assert (shown["Model"], shown["Provider"]) == ("falls-back", "fake")


@pytest.mark.campaign
async def test_a_response_is_listed_as_awaiting_approval_until_each_call_is_answered(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    wanted = calls(("a", "delete_all", {"what": "a"}), ("b", "delete_all", {"what": "b"}))
    turns(upstream, "attributes of an approval", wanted, Script(words=3, hold_after=1))
    body = {"model": "fake", "input": "attributes of an approval", "tools": HOSTED, "background": True}
    begun = (await client.post("/v1/responses", json=body)).json()
    url = f"/v1/responses/{begun['id']}"

    async def status_is(wanted: str) -> bool:
        return (await _attributes(stack, begun["id"]))["Status"] == wanted

    async def is_listed() -> bool:
        return begun["id"] in await _listed(stack, "OpenResponsesStatus = 'awaiting_approval'")

    await until(lambda: status_is("awaiting_approval"), 30)
    await until(is_listed, 30)
    output = (await client.get(url)).json()["output"]
    first, second = (item["id"] for item in output if item["type"] == "mcp_approval_request")
    for approval, status in ((first, "awaiting_approval"), (second, "in_progress")):
        answer = {"approval_request_id": approval, "approve": True}
        assert (await client.post(f"{url}/approvals", json=answer)).status_code == 200
        await until(lambda status=status: status_is(status), 30)  # type: ignore[misc]
    await client.post(f"{url}/cancel")
    await until(lambda: status_is("cancelled"), 30)


async def test_attributes_that_a_namespace_lacks_are_added_before_a_response_sets_them(stack: Stack) -> None:
    namespace = f"new-{uuid.uuid4().hex}"
    temporal = await Client.connect(stack.temporal_address, namespace=namespace)
    retention = Duration()
    retention.FromTimedelta(timedelta(days=1))
    await temporal.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=retention)
    )

    async def are_known() -> bool:
        # Each look is another process's: one process waits for seconds between two.
        return await NamespaceAttributes(temporal).are_known()

    await until(are_known, 40)
    every = " AND ".join(f"{name} IS NULL" for name in SEARCH_ATTRIBUTES)
    assert (await temporal.count_workflows(every)).count == 0


def test_tools_are_named_once_in_order_within_temporals_limits() -> None:
    hosted = [{"type": "function_call", "name": name} for name in ("b", "the client's", "a", "b")]
    remote = [{"type": "mcp_call", "server_label": f"{i}" + "é" * 200, "name": "x"} for i in range(100)]
    named = called_tools([{"type": "message"}, *hosted, *remote], {"a", "b", "unused"})
    assert named[:2] == ["b", "a"]
    assert len(named) == 15
    assert max(len(name.encode()) for name in named) <= 100
