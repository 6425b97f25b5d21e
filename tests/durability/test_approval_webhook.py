"""A call that waits for weeks: the webhook names it, a person answers over the API, and the response goes on."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import HOSTED, outputs, script
from tests.support.stack import Stack, check_whole, events_of, until
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import new_path, new_secret, received, with_webhook

pytestmark = pytest.mark.campaign


async def test_the_event_of_a_waiting_call_is_all_that_a_person_needs_while_everything_is_replaced(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, receiver: WebhookReceiver
) -> None:
    path, secret = new_path(), new_secret()
    script(upstream, "wait for weeks", calls(("c", "delete_all", {"what": "disk"})), Script(words=3))
    await with_webhook(client, receiver.url(path), secret, input="wait for weeks", background=True, tools=HOSTED)
    (sent,) = await received(receiver, path)
    sdk = AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key="none")
    event: Any = sdk.webhooks.unwrap(sent.body, sent.headers, secret=secret)
    assert event.type == "response.awaiting_approval"

    # Whoever waits for so long sees other processes in the end.
    for name in [name for name in stack.processes if name.startswith(("worker-", "api"))]:
        await stack.kill(name)
    await stack.flush()
    await stack.heal()

    waiting = await sdk.responses.retrieve(event.data.id)
    requests = [item for item in waiting.output if item.type == "mcp_approval_request"]
    assert [request.id for request in requests] == event.data.approval_request_ids
    assert requests[0].arguments == '{"what": "disk"}'
    answer = {"approval_request_id": requests[0].id, "approve": True}
    assert (await client.post(f"/v1/responses/{event.data.id}/approvals", json=answer)).status_code == 200

    async def has_completed() -> bool:
        return (await sdk.responses.retrieve(event.data.id)).status == "completed"

    await until(has_completed)
    done = (await received(receiver, path, 2))[1]
    ended: Any = sdk.webhooks.unwrap(done.body, done.headers, secret=secret)
    assert (ended.type, ended.data.id) == ("response.completed", event.data.id)
    response = check_whole([one async for one in events_of(client, resume=(event.data.id, None))], "w0 w1 w2 ")
    assert len(outputs(response)) == 1
    assert len(receiver.paths[path].requests) == 2
