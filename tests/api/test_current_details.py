"""The details of a run in Temporal's UI: what a response does, and what it waits for."""

from __future__ import annotations

from typing import Any

import httpx
from temporalio.api.sdk.v1 import WorkflowMetadata

from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.operator import HOSTED, console, turns
from tests.support.stack import Stack, until


async def _details(stack: Stack, response_id: str) -> str:
    handle = (await console(stack)).get_workflow_handle(response_id)
    metadata: Any = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(metadata.current_details)


async def _status(stack: Stack, response_id: str) -> Any:
    described = await (await console(stack)).get_workflow_handle(response_id).describe()
    return next(pair.value for pair in described.typed_search_attributes if pair.key.name == "OpenResponsesStatus")


async def test_they_show_each_pending_approval_with_tool_arguments_and_id(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    turns(upstream, "details of an approval", calls(("a", "delete_all", {"what": "it all"})), Script(words=3))
    body = {"model": "fake", "input": "details of an approval", "tools": HOSTED, "background": True}
    begun = (await client.post("/v1/responses", json=body)).json()
    url = f"/v1/responses/{begun['id']}"

    async def waits() -> bool:
        return "approval pending" in await _details(stack, begun["id"])

    await until(waits, 30)
    output = (await client.get(url)).json()["output"]
    (approval,) = (item["id"] for item in output if item["type"] == "mcp_approval_request")
    (line,) = (line for line in (await _details(stack, begun["id"])).splitlines() if "approval pending" in line)
    for shown in ("delete_all", "it all", approval):
        assert shown in line
    await client.post(f"{url}/approvals", json={"approval_request_id": approval, "approve": False})

    async def has_ended() -> bool:
        details = await _details(stack, begun["id"])
        return details.startswith("**completed**") and "approval pending" not in details

    await until(has_ended, 30)
    assert "- cost: not known" in await _details(stack, begun["id"])


async def test_they_show_a_providers_last_error_and_when_it_is_asked_again(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    busy = Fault(status=503, headers={"retry-after": "3"})
    script = upstream.says("details of a retry", Script(words=5, faults=[busy], hold_after=2))
    body = {"model": "fake", "input": "details of a retry", "background": True}
    begun = (await client.post("/v1/responses", json=body)).json()

    async def is_due() -> bool:
        return "next attempt at" in await _details(stack, begun["id"])

    await until(is_due, 30)
    details = await _details(stack, begun["id"])
    assert "last error of fake: provider_unavailable:" in details
    # Both are of the same workflow task, unless the attempt has begun in between.
    assert script.held.is_set() or await _status(stack, begun["id"]) in ("retrying", "in_progress")

    async def answers_again() -> bool:
        shown = await _details(stack, begun["id"])
        return (
            "last error of fake" in shown
            and "next attempt at" not in shown
            and await _status(stack, begun["id"]) == "in_progress"
        )

    await until(answers_again, 30)
    assert not script.released.is_set(), "while the answer is still streamed"
    script.released.set()

    async def has_ended() -> bool:
        return bool(await _status(stack, begun["id"]) == "completed")

    await until(has_ended, 30)


async def test_a_response_is_listed_as_retrying_while_its_provider_is_down(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    begun = (await client.post("/v1/responses", json={"model": "down", "input": "x", "background": True})).json()

    async def is_listed() -> bool:
        runs = (await console(stack)).list_workflows("OpenResponsesStatus = 'retrying'")
        return begun["id"] in {run.id async for run in runs}

    await until(is_listed, 30)
    await client.post(f"/v1/responses/{begun['id']}/cancel")
