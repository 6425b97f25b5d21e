"""Webhooks over kills: an event is sent until its receiver has it, with one id."""

from __future__ import annotations

import base64
import secrets

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream
from tests.support.operator import console
from tests.support.stack import Stack, until
from tests.support.webhook_receiver import WebhookReceiver

pytestmark = pytest.mark.campaign

DELIVERIES = "/v1/webhook_deliveries"


def a_webhook(receiver: WebhookReceiver, path: str) -> dict[str, str]:
    return {"url": receiver.url(path), "secret": "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()}


async def delivered(client: httpx.AsyncClient, response_id: str) -> dict[str, object]:
    found: list[dict[str, object]] = []

    async def is_delivered() -> bool:
        rows = (await client.get(DELIVERIES, params={"response_id": response_id})).json()["data"]
        found[:] = [row for row in rows if row["status"] == "delivered"]
        return bool(found)

    await until(is_delivered, 90)
    return found[0]


async def test_a_worker_killed_between_sending_and_its_result_sends_again_with_the_same_id(
    stack: Stack, client: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    path = receiver.answers("/killed", "hold", 200)
    body = {"model": "fake", "input": "hello", "webhook": a_webhook(receiver, "/killed")}
    response = (await client.post("/v1/responses", json=body)).json()
    await path.held.wait()
    for name in [name for name in stack.processes if name.startswith("worker-")]:
        await stack.kill(name)
    await stack.flush()
    await stack.heal()
    done = await delivered(client, response["id"])
    path.released.set()
    assert [one.id for one in path.requests] == [done["event_id"]] * 2
    assert len({one.body for one in path.requests}) == 1
    assert [attempt["error"] for attempt in done["attempts"]] == ["outcome_unknown", None]  # type: ignore[attr-defined]


async def test_a_receiver_that_is_down_for_a_while_gets_each_event_once_while_everything_is_replaced(
    stack: Stack, client: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    path = receiver.answers("/down", *["drop"] * 4, 200)
    body = {"model": "fake", "input": "hello", "webhook": a_webhook(receiver, "/down")}
    response = (await client.post("/v1/responses", json=body)).json()

    async def was_tried() -> bool:
        return len(path.requests) >= 2

    await until(was_tried)
    for name in [name for name in stack.processes if name.startswith("worker-") or name == "api"]:
        await stack.kill(name)
    await stack.flush()
    await stack.heal()
    done = await delivered(client, response["id"])
    assert len({one.id for one in path.requests}) == 1
    assert path.requests[-1].event["data"] == {"id": response["id"]}
    replay = await client.post(f"{DELIVERIES}/{done['id']}/replay")
    assert replay.status_code == 202
    count = len(path.requests)

    async def is_sent_again() -> bool:
        return len(path.requests) == count + 1

    await until(is_sent_again)
    assert len({one.id for one in path.requests}) == 1


async def test_a_run_that_an_operator_terminates_still_sends_the_end_of_its_response(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, receiver: WebhookReceiver
) -> None:
    path = receiver.answers("/terminated", 200)
    held = upstream.says("terminated with a webhook", Script(words=5, hold_after=2))
    webhook = a_webhook(receiver, "/terminated")
    body = {"model": "fake", "input": "terminated with a webhook", "background": True, "webhook": webhook}
    response = (await client.post("/v1/responses", json=body)).json()
    await held.held.wait()
    await (await console(stack)).get_workflow_handle(response["id"]).terminate()
    await delivered(client, response["id"])
    held.released.set()
    assert [(one.event["type"], one.event["data"]) for one in path.requests] == [
        ("response.failed", {"id": response["id"]})
    ]
