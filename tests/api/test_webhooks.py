"""Webhooks: signed as OpenAI's SDK verifies them, tried again, logged, replayed, and never to a private address."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, InvalidWebhookSignatureError
from openai.types.webhooks import ResponseCompletedWebhookEvent

from open_responses.schema.webhooks import WEBHOOK_EVENTS
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until
from tests.support.webhook_receiver import Received, WebhookReceiver

ADMIN = bearer("webhooks-operator")
HOSTED = [{"type": "open_responses:hosted_tools"}]
DELIVERIES = "/v1/webhook_deliveries"

api = api_of_the_module(
    key_block("house", "webhooks-operator", 'scopes = ["admin"]'),
    key_block(
        "filed",
        "webhooks-filed",
        "[[api_keys.webhooks]]",
        'url = "http://127.0.0.1:9/of-the-file"',
        'secrets_env = ["NO_SUCH_SECRET"]',
    ),
)


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def new_path() -> str:
    return f"/{secrets.token_hex(6)}"


async def tenant_key(api: httpx.AsyncClient, tenant: str) -> str:
    answer = await api.post("/v1/admin/keys", json={"tenant": tenant}, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


def sdk(api: httpx.AsyncClient, key: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{api.base_url}/v1", api_key=key, max_retries=0)


async def received(receiver: WebhookReceiver, path: str, count: int = 1) -> Sequence[Received]:
    async def are_there() -> bool:
        return len(receiver.paths[path].requests) >= count

    await until(are_there, 30)
    return receiver.paths[path].requests


async def with_webhook(client: httpx.AsyncClient, url: str, secret: Any, **body: Any) -> dict[str, Any]:
    events = body.pop("events", None)
    webhook = {"url": url, "secret": secret, **({"events": events} if events else {})}
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "hello", "webhook": webhook, **body})
    assert answer.status_code == 200, answer.text
    response: dict[str, Any] = answer.json()
    return response


async def delivery_of(client: httpx.AsyncClient, response_id: str, status: str, **headers: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def has_it() -> bool:
        answer = await client.get(DELIVERIES, params={"response_id": response_id}, headers=headers)
        assert answer.status_code == 200, answer.text
        found[:] = [row for row in answer.json()["data"] if row["status"] == status]
        return bool(found)

    await until(has_it, 30)
    return found[0]


# --- OpenAI's SDK, unchanged


async def test_the_openai_sdk_creates_an_endpoint_verifies_its_events_and_rotates_its_secret(
    api: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    key, path = await tenant_key(api, "sdk"), new_path()
    client = sdk(api, key)
    endpoint = await client.webhooks.create(
        name="mine", url=receiver.url(path), event_types=["response.completed", "response.failed"]
    )
    assert (await client.webhooks.retrieve(endpoint.id)).signing_secret_hint == f"whsec_…{endpoint.signing_secret[-4:]}"
    assert [one.id async for one in client.webhooks.list()] == [endpoint.id]
    assert set((await client.webhooks.event_types.list()).data) == set(WEBHOOK_EVENTS)
    response = await client.responses.create(model="fake", input="hello", background=True)
    (sent,) = await received(receiver, path)
    event = client.webhooks.unwrap(sent.body, sent.headers, secret=endpoint.signing_secret)
    assert isinstance(event, ResponseCompletedWebhookEvent)
    assert (event.data.id, event.object, event.id) == (response.id, "event", sent.id)
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.unwrap(
            sent.body.replace(b"completed", b"cancelled"), sent.headers, secret=endpoint.signing_secret
        )

    rotated = await client.webhooks.rotate_secret(endpoint.id, keep_old_secret_active_for_24_hours=True)
    done = await client.webhooks.test(endpoint.id, event_type="response.failed")
    assert (done.status_code, done.success) == (200, True)
    both = (await received(receiver, path, 2))[1]
    for secret in (endpoint.signing_secret, rotated.signing_secret):
        assert client.webhooks.unwrap(both.body, both.headers, secret=secret).type == "response.failed"
    last = await client.webhooks.rotate_secret(endpoint.id)
    await client.webhooks.test(endpoint.id, event_type="response.completed")
    one = (await received(receiver, path, 3))[2]
    client.webhooks.verify_signature(one.body, one.headers, secret=last.signing_secret)
    with pytest.raises(InvalidWebhookSignatureError):
        client.webhooks.verify_signature(one.body, one.headers, secret=rotated.signing_secret)

    moved = await client.webhooks.update(endpoint.id, url=receiver.url(path + "2"), name="moved")
    assert (moved.url, moved.name, moved.event_types) == (receiver.url(path + "2"), "moved", endpoint.event_types)
    assert (await client.webhooks.delete(endpoint.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.webhooks.retrieve(endpoint.id)
    audit = (await api.get("/v1/admin/keys/audit", headers=ADMIN)).text
    assert "sealed:" not in audit
    assert "whsec_" not in audit


async def test_the_endpoints_of_a_key_get_the_events_of_its_background_responses_alone(
    api: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    mine, other, path = await tenant_key(api, "mine"), await tenant_key(api, "other"), new_path()
    await sdk(api, mine).webhooks.create(name="m", url=receiver.url(path), event_types=["response.completed"])
    await sdk(api, mine).responses.create(model="fake", input="in the foreground")
    await sdk(api, other).responses.create(model="fake", input="of another", background=True)
    last = await sdk(api, mine).responses.create(model="fake", input="mine", background=True)
    assert [one.event["data"]["id"] for one in await received(receiver, path)] == [last.id]


async def test_an_endpoint_that_was_deleted_gets_nothing_any_more(
    api: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    key, path = await tenant_key(api, "deletes"), new_path()
    client = sdk(api, key)
    receiver.answers(path, 500)
    endpoint = await client.webhooks.create(name="m", url=receiver.url(path), event_types=["response.completed"])
    response = await client.responses.create(model="fake", input="hello", background=True)
    await received(receiver, path)
    await client.webhooks.delete(endpoint.id)
    failed = await delivery_of(api, response.id, "failed", **bearer(key))
    assert failed["attempts"][-1]["error"] == "endpoint_removed"


# --- attempts


async def test_each_attempt_has_the_same_id_and_body_and_the_log_has_them_all_also_after_a_flush(
    stack: Stack, client: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    path, secret = new_path(), new_secret()
    receiver.answers(path, 500, "drop", 404, 302, 204, location=receiver.url(path + "-elsewhere"))
    response = await with_webhook(client, receiver.url(path), secret)
    assert "webhook" not in response
    done = await delivery_of(client, response["id"], "delivered")
    sent = receiver.paths[path].requests
    assert [len({one.id for one in sent}), len({one.body for one in sent}), len(sent)] == [1, 1, 5]
    for one in sent:
        AsyncOpenAI(api_key="x").webhooks.verify_signature(one.body, one.headers, secret=secret)
    assert [attempt["status"] for attempt in done["attempts"]] == [500, None, 404, 302, 204]
    assert [attempt["error"] for attempt in done["attempts"]][1] == "connection_failed"
    assert (done["attempt_count"], done["next_attempt_at"], done["event_id"]) == (5, None, sent[0].id)
    assert path + "-elsewhere" not in receiver.paths, "a redirect is not followed"
    await stack.flush()
    replayed = await client.post(f"{DELIVERIES}/{done['id']}/replay")
    assert (replayed.status_code, replayed.json()["status"]) == (202, "pending")
    again = (await received(receiver, path, 6))[5]
    assert (again.id, again.body) == (sent[0].id, sent[0].body)

    async def is_logged() -> bool:
        now = (await client.get(f"{DELIVERIES}/{done['id']}")).json()
        return bool(now["status"] == "delivered" and now["attempt_count"] == 6)

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


# --- whose deliveries are whose, and what is left


async def test_a_delivery_of_another_tenant_is_an_unknown_one(
    api: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    owner, stranger, path = await tenant_key(api, "hooks-a"), await tenant_key(api, "hooks-b"), new_path()
    receiver.answers(path, 500)
    body = {"model": "fake", "input": "x", "webhook": {"url": receiver.url(path), "secret": new_secret()}}
    response = (await api.post("/v1/responses", json=body, headers=bearer(owner))).json()
    mine = await delivery_of(api, response["id"], "pending", **bearer(owner))
    unknown = "whd_" + "0" * 64
    for method, end in (("GET", ""), ("POST", "/replay")):
        answers = [
            await api.request(method, f"{DELIVERIES}/{id}{end}", headers=bearer(stranger))
            for id in (mine["id"], unknown)
        ]
        for answer in answers:
            is_error(answer, 404, "not_found", "delivery_id")
        assert answers[0].json() == answers[1].json()
    listed = await api.get(DELIVERIES, params={"response_id": response["id"]}, headers=bearer(stranger))
    assert listed.json()["data"] == []
    is_error(
        await api.get(DELIVERIES, params={"tenant": "hooks-a"}, headers=bearer(stranger)), 403, "permission_denied"
    )
    assert (await api.get(f"{DELIVERIES}/{mine['id']}", headers=ADMIN)).json()["tenant"] == "hooks-a"
    endpoint = await sdk(api, owner).webhooks.create(name="m", url=receiver.url(path), event_types=["response.failed"])
    with pytest.raises(openai.NotFoundError):
        await sdk(api, stranger).webhooks.retrieve(endpoint.id)
    assert (await api.delete(f"/v1/responses/{response['id']}", headers=bearer(owner))).status_code == 200
    is_error(await api.get(f"{DELIVERIES}/{mine['id']}", headers=bearer(owner)), 404, "not_found")

    async def is_gone() -> bool:
        # An operator's list hides nothing but what was deleted.
        rows = (await api.get(DELIVERIES, params={"response_id": response["id"]}, headers=ADMIN)).json()["data"]
        return not rows

    await until(is_gone, 30)


# --- bad input


@pytest.mark.parametrize(
    ("webhook", "code", "param"),
    [
        ({"url": "http://169.254.169.254/latest"}, "forbidden_address", "webhook.url"),
        ({"url": "https://localhost/x"}, "forbidden_address", "webhook.url"),
        ({"url": "http://2130706433/"}, "forbidden_address", "webhook.url"),
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


async def test_endpoints_that_cannot_be_are_refused(api: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    key = await tenant_key(api, "refused")
    body = {"name": "x", "url": "https://example.com/", "event_types": ["response.completed"]}

    async def create(headers: dict[str, str], **changed: Any) -> httpx.Response:
        return await api.post("/v1/webhook_endpoints", json={**body, **changed}, headers=headers)

    is_error(await create(bearer(key), url="http://10.0.0.1/"), 400, "forbidden_address", "url")
    is_error(await create(bearer(key), name=""), 400, "invalid_value", "name")
    is_error(await create(bearer(key), event_types=["batch.completed"]), 400, "invalid_value", "event_types[0]")
    is_error(await create(bearer("webhooks-filed")), 409, "api_key_in_file")
    is_error(await client.post("/v1/webhook_endpoints", json=body), 409, "no_api_key")
    listed = (await api.get("/v1/webhook_endpoints", headers=bearer("webhooks-filed"))).json()["data"]
    assert [(one["url"], one["source"]) for one in listed] == [("http://127.0.0.1:9/of-the-file", "file")]
    of_file = f"/v1/webhook_endpoints/{listed[0]['id']}"
    is_error(await api.delete(of_file, headers=bearer("webhooks-filed")), 409, "api_key_in_file")
    for _ in range(10):
        assert (await create(bearer(key))).status_code == 200
    is_error(await create(bearer(key)), 409, "webhook_endpoints_full")
    is_error(await api.post(f"{DELIVERIES}/x/replay", headers=bearer(key)), 404, "not_found")
    for query in ({"status": "done"}, {"response_id": "x"}, {"typo": "x"}):
        answer = await api.get(DELIVERIES, params=query, headers=bearer(key))
        is_error(answer, 400, "unknown_parameter" if "typo" in query else "invalid_value", next(iter(query)))


async def test_an_endpoint_that_does_not_answer_its_test_is_a_400_with_the_reason(
    api: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    key, path = await tenant_key(api, "unanswered"), new_path()
    receiver.answers(path, "drop")
    client = sdk(api, key)
    endpoint = await client.webhooks.create(name="m", url=receiver.url(path), event_types=["response.completed"])
    with pytest.raises(openai.BadRequestError, match="connection_failed") as refused:
        await client.webhooks.test(endpoint.id, event_type="response.completed")
    assert refused.value.code == "webhook_not_answered"
