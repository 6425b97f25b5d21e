"""Requests with a webhook, what its receiver got, and the log of deliveries."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Any

import httpx

from tests.support.stack import until
from tests.support.webhook_receiver import Received, WebhookReceiver

DELIVERIES = "/v1/webhook_deliveries"


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def new_path() -> str:
    return f"/{secrets.token_hex(6)}"


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
