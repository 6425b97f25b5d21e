"""Webhooks: signed as OpenAI's SDK verifies them, tried again, logged, replayed, and never to a private address."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import DELIVERIES, delivery_of, new_path, new_secret, received, with_webhook

HOSTED = [{"type": "open_responses:hosted_tools"}]


# --- attempts


@pytest.mark.campaign
async def test_each_attempt_has_the_same_id_and_body_and_the_log_has_them_all_also_after_a_flush(
    stack: Stack, client: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    path, secret = new_path(), new_secret()
    receiver.answers(path, 500, "drop", 302, 204, location=receiver.url(path + "-elsewhere"))
    response = await with_webhook(client, receiver.url(path), secret)
    assert "webhook" not in response
    done = await delivery_of(client, response["id"], "delivered")
    sent = receiver.paths[path].requests
    assert [len({one.id for one in sent}), len({one.body for one in sent}), len(sent)] == [1, 1, 4]
    for one in sent:
        AsyncOpenAI(api_key="x").webhooks.verify_signature(one.body, one.headers, secret=secret)
    assert [attempt["status"] for attempt in done["attempts"]] == [500, None, 302, 204]
    assert [attempt["error"] for attempt in done["attempts"]][1] == "connection_failed"
    assert (done["attempt_count"], done["next_attempt_at"], done["event_id"]) == (4, None, sent[0].id)
    assert path + "-elsewhere" not in receiver.paths, "a redirect is not followed"
    await stack.flush()
    replayed = await client.post(f"{DELIVERIES}/{done['id']}/replay")
    assert (replayed.status_code, replayed.json()["status"]) == (202, "pending")
    again = (await received(receiver, path, 5))[4]
    assert (again.id, again.body) == (sent[0].id, sent[0].body)

    async def is_logged() -> bool:
        now = (await client.get(f"{DELIVERIES}/{done['id']}")).json()
        return bool(now["status"] == "delivered" and now["attempt_count"] == 5)

    await until(is_logged, 30)


async def test_a_410_ends_a_delivery_and_a_replay_of_one_that_waits_is_made_at_once(
    client: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    gone, slow = new_path(), new_path()
    receiver.answers(gone, 410)
    response = await with_webhook(client, receiver.url(gone), new_secret())
    failed = await delivery_of(client, response["id"], "failed")
    assert [attempt["error"] for attempt in failed["attempts"]] == ["gone"]
    receiver.answers(slow, 503, 200, retry_after="3000")
    response = await with_webhook(client, receiver.url(slow), new_secret())
    await received(receiver, slow)
    waits = await delivery_of(client, response["id"], "pending")

    async def is_announced() -> bool:
        nonlocal waits
        waits = (await client.get(f"{DELIVERIES}/{waits['id']}")).json()
        return waits["next_attempt_at"] is not None

    await until(is_announced)
    assert waits["next_attempt_at"] - waits["attempts"][0]["at"] > 2900, "Retry-After is obeyed"
    assert (await client.post(f"{DELIVERIES}/{waits['id']}/replay")).status_code == 202
    assert (await received(receiver, slow, 2))[1].id == waits["event_id"]


# --- events


async def test_each_end_has_its_event_and_a_call_that_waits_for_a_person_has_one(
    client: httpx.AsyncClient, upstream: Upstream, receiver: WebhookReceiver
) -> None:
    path, secret = new_path(), [new_secret(), new_secret()]
    url = receiver.url(path)
    upstream.says("hooks never end", Script(words=5, hold_after=2))
    upstream.says("hooks wait", calls(("c", "delete_all", {"what": "disk"})))
    running = await with_webhook(client, url, secret, input="hooks never end", background=True)
    await client.post(f"/v1/responses/{running['id']}/cancel")
    failed = await with_webhook(client, url, secret, model="keyed", input="x", api_key="k", store=False)
    waiting = await with_webhook(client, url, secret, input="hooks wait", tools=HOSTED, background=True)
    asked = await with_webhook(
        client, url, secret, input="hooks wait", tools=HOSTED, events=["response.awaiting_approval"]
    )
    await received(receiver, path, 4)
    await client.post(f"/v1/responses/{waiting['id']}/cancel")
    events = [one.event for one in await received(receiver, path, 5)]
    found = sorted((event["type"], event["data"]["id"]) for event in events)
    assert found == sorted(
        [
            ("response.cancelled", running["id"]),
            (f"response.{failed['status']}", failed["id"]),
            ("response.awaiting_approval", waiting["id"]),
            ("response.awaiting_approval", asked["id"]),
            ("response.cancelled", waiting["id"]),
        ]
    )
    approvals = [event["data"]["approval_request_ids"] for event in events if event["type"].endswith("approval")]
    assert [asked["output"][-1]["id"]] in approvals
    for one in receiver.paths[path].requests:
        for each in secret:
            AsyncOpenAI(api_key="x").webhooks.verify_signature(one.body, one.headers, secret=each)


# --- bad input


@pytest.mark.parametrize(
    ("webhook", "code", "param"),
    [
        ({"url": "http://169.254.169.254/latest"}, "forbidden_address", "webhook.url"),
        ({"url": "https://localhost/x"}, "forbidden_address", "webhook.url"),
        ({"url": "http://2130706433/"}, "forbidden_address", "webhook.url"),
        ({"url": "http://[::1]:9200/"}, "forbidden_address", "webhook.url"),
        ({"url": "https://[::ffff:10.0.0.1]/"}, "forbidden_address", "webhook.url"),
        ({"url": "https://[64:ff9b::a9fe:a9fe]/"}, "forbidden_address", "webhook.url"),
        ({"url": "https://[fd00:ec2::254]/"}, "forbidden_address", "webhook.url"),
        ({"url": "https://db.internal/"}, "forbidden_address", "webhook.url"),
        ({"url": "ftp://example.com/"}, "invalid_value", "webhook.url"),
        ({"url": "https://user@example.com/"}, "invalid_value", "webhook.url"),
        ({"url": "https://example.com/\r\nx: y"}, "invalid_value", "webhook.url"),
        ({"url": None}, "invalid_type", "webhook.url"),
        ({"secret": "whsec_short"}, "invalid_value", "webhook.secret[0]"),
        ({"secret": "hunter2"}, "invalid_value", "webhook.secret[0]"),
        ({"secret": []}, "invalid_value", "webhook.secret"),
        ({"events": ["response.done"]}, "invalid_value", "webhook.events[0]"),
        ({"events": []}, "invalid_value", "webhook.events"),
        ({"urls": []}, "unknown_parameter", "webhook.urls"),
    ],
)
async def test_a_webhook_that_cannot_be_is_a_400_before_anything_starts(
    client: httpx.AsyncClient, webhook: dict[str, Any], code: str, param: str
) -> None:
    whole = {"url": "https://example.com/hook", "secret": new_secret(), **webhook}
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "hello", "webhook": whole})
    is_error(answer, 400, code, param)
    if whole["secret"]:
        assert str(whole["secret"]) not in answer.text
