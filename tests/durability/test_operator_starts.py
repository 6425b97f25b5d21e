"""Runs that an operator starts by hand under the id of a response that has ended: its end stands."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError

from open_responses.io.temporal.earlier_runs import earlier_runs
from open_responses.loop.payloads.names import TASK_QUEUE, WORKFLOW
from tests.support.fake_upstream import Script, Upstream
from tests.support.operator import closed, console, reset
from tests.support.stack import Stack, collect, events_of, until
from tests.support.temporal_client import input_of
from workflows.by_hand import FOREIGN_INPUT
from workflows.response import ResponseWorkflow

pytestmark = pytest.mark.campaign


async def ended(client: httpx.AsyncClient, temporal: Client, upstream: Upstream, prompt: str) -> dict[str, Any]:
    upstream.says(prompt, Script(words=4))
    response: dict[str, Any] = (await collect(client, {"input": prompt}))[-1]["response"]
    assert await closed(temporal.get_workflow_handle(response["id"])) == WorkflowExecutionStatus.COMPLETED
    return response


@pytest.mark.parametrize("how", ["start", "signal-with-start", "start without Redis", "reset without Redis"])
async def test_a_response_that_has_ended_is_not_begun_again(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, how: str
) -> None:
    temporal = await console(stack)
    response = await ended(client, temporal, upstream, f"by hand: {how}")
    asked, url = len(upstream.requests), f"/v1/responses/{response['id']}"
    start = await input_of(temporal, response["id"])
    events = [event async for event in events_of(client, resume=(response["id"], None))]
    handle = temporal.get_workflow_handle(response["id"])
    if how.endswith("without Redis"):
        await stack.flush()
    if how.startswith("reset"):
        await reset(temporal, handle, 0)
    else:
        options: dict[str, Any] = {"start_signal": "cancel"} if how == "signal-with-start" else {}
        await temporal.start_workflow(
            ResponseWorkflow.run, start, id=start.response_id, task_queue=TASK_QUEUE, **options
        )
    assert await closed(handle) == WorkflowExecutionStatus.COMPLETED
    assert (await handle.result())["response"] == response
    assert len(upstream.requests) == asked
    assert (await client.get(url)).json() == response
    assert [event async for event in events_of(client, resume=(response["id"], None))] == events


async def test_a_run_with_the_input_of_another_response_fails_and_changes_neither(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    temporal = await console(stack)
    one, two = [await ended(client, temporal, upstream, f"by hand: {name}") for name in ("one", "two")]
    asked = len(upstream.requests)
    handle = await temporal.start_workflow(
        ResponseWorkflow.run, await input_of(temporal, two["id"]), id=one["id"], task_queue=TASK_QUEUE
    )
    with pytest.raises(WorkflowFailureError) as failure:
        await handle.result()
    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == FOREIGN_INPUT
    for response in (one, two):
        assert (await client.get(f"/v1/responses/{response['id']}")).json() == response
    await stack.flush()
    # The newest run under this id is none of this server's: Temporal alone does not say any more whose it was.
    assert (await client.get(f"/v1/responses/{one['id']}")).status_code == 404
    assert (await client.get(f"/v1/responses/{two['id']}")).json() == two
    assert len(upstream.requests) == asked


async def test_a_run_with_an_input_of_another_form_changes_nothing(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """No worker can carry out its first task: it waits until it is terminated."""
    temporal = await console(stack)
    response = await ended(client, temporal, upstream, "by hand: form")
    url = f"/v1/responses/{response['id']}"
    handle = await temporal.start_workflow(WORKFLOW, {"not": "a start"}, id=response["id"], task_queue=TASK_QUEUE)
    try:
        assert (await client.get(url)).json() == response
        assert (await client.post(f"{url}/cancel")).json() == response
        assert [event async for event in events_of(client, resume=(response["id"], None))][-1]["response"] == response
        await stack.flush()
        assert (await client.get(url)).status_code == 404
        assert (await client.get(url, params={"stream": "true"})).status_code == 404
    finally:
        await handle.terminate()


async def test_a_deletion_takes_the_runs_that_a_reset_and_a_start_by_hand_left_behind(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    temporal = await console(stack)
    response = await ended(client, temporal, upstream, "by hand: delete")
    start, handle = await input_of(temporal, response["id"]), temporal.get_workflow_handle(response["id"])
    await reset(temporal, handle, 0)
    await closed(handle)
    await temporal.start_workflow(ResponseWorkflow.run, start, id=start.response_id, task_queue=TASK_QUEUE)
    await closed(handle)

    async def are_listed() -> bool:
        return len(await earlier_runs(temporal, await handle.describe())) == 2

    await until(are_listed)
    assert (await client.delete(f"/v1/responses/{response['id']}")).status_code == 200

    async def are_gone() -> bool:
        return not [run async for run in temporal.list_workflows(f"WorkflowId = '{response['id']}'")]

    await until(are_gone)
    assert (await client.get(f"/v1/responses/{response['id']}")).status_code == 404
