"""The webhook endpoints of API keys, by OpenAI's SDK unchanged, and whose deliveries are whose."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, InvalidWebhookSignatureError
from openai.types.webhooks import ResponseCompletedWebhookEvent

from open_responses.schema.webhooks import WEBHOOK_EVENTS
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.responses_http import is_error
from tests.support.stack import until
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import DELIVERIES, delivery_of, new_path, new_secret, received

pytestmark = pytest.mark.campaign

ADMIN = bearer("webhooks-operator")

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


def sdk(api: httpx.AsyncClient, key: str) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{api.base_url}/v1", api_key=key, max_retries=0)


async def tenant_key(api: httpx.AsyncClient, tenant: str) -> str:
    answer = await api.post("/v1/admin/keys", json={"tenant": tenant}, headers=ADMIN)
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


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


async def test_an_endpoint_whose_receiver_is_gone_is_disabled_until_its_owner_sends_an_address(
    api: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    key, path = await tenant_key(api, "gone"), new_path()
    client = sdk(api, key)
    receiver.answers(path, 503, 410, retry_after="3000")
    endpoint = await client.webhooks.create(name="m", url=receiver.url(path), event_types=["response.completed"])

    async def shown() -> dict[str, Any]:
        row: dict[str, Any] = (await api.get(f"/v1/webhook_endpoints/{endpoint.id}", headers=bearer(key))).json()
        return row

    assert (await shown())["status"] == "enabled"
    waits = await client.responses.create(model="fake", input="waits", background=True)
    pending = await delivery_of(api, waits.id, "pending", **bearer(key))
    await received(receiver, path)
    gone = await client.responses.create(model="fake", input="gone", background=True)
    failed = await delivery_of(api, gone.id, "failed", **bearer(key))
    assert [attempt["error"] for attempt in failed["attempts"]] == ["gone"]

    async def is_disabled() -> bool:
        return bool((await shown())["status"] == "disabled")

    await until(is_disabled, 30)
    # It gets nothing more: neither the event that waits, nor another.
    await api.post(f"{DELIVERIES}/{pending['id']}/replay", headers=bearer(key))
    given_up = await delivery_of(api, waits.id, "failed", **bearer(key))
    assert given_up["attempts"][-1]["error"] == "endpoint_disabled"
    later = await client.responses.create(model="fake", input="later", background=True)

    async def has_ended() -> bool:
        return (await client.responses.retrieve(later.id)).status == "completed"

    await until(has_ended)
    audit = (await api.get("/v1/admin/keys/audit", headers=ADMIN)).json()["data"]
    assert any(one["by"] == "webhook_receiver" and one["tenant"] == "gone" for one in audit)
    # A test reaches it, and an address enables it.
    receiver.answers(path, 200)
    assert (await client.webhooks.test(endpoint.id, event_type="response.completed")).success
    assert (await shown())["status"] == "disabled"
    await client.webhooks.update(endpoint.id, url=receiver.url(path))
    assert (await shown())["status"] == "enabled"
    last = await client.responses.create(model="fake", input="last", background=True)
    await delivery_of(api, last.id, "delivered", **bearer(key))
    ids = [one.event["data"]["id"] for one in receiver.paths[path].requests]
    assert later.id not in ids, "its response began while the endpoint was disabled"


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
