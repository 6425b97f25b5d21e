"""How a webhook is signed, and when an attempt is the last."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openai import OpenAI
from temporalio.exceptions import ActivityError

from activities.webhooks.send import SendActivity, _Answer
from open_responses.config import Config
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.webhooks.deliveries import (
    AnnounceInput,
    Delivery,
    WebhookAttempt,
    event_id,
    news_of_end,
    pause_before,
)
from open_responses.webhooks.endpoints import WebhookDelivery, WebhookTarget
from open_responses.webhooks.signing import body_of, headers_of, hint_of, new_webhook_secret
from tests.support.webhook_receiver import WebhookReceiver
from workflows.webhook import WebhookWorkflow

RESPONSE = "resp_" + "a" * 48


def sender(config: Config | None = None) -> SendActivity:
    parts = cast(Any, SimpleNamespace())
    return SendActivity(parts, parts, parts, parts, config or Config(), {})


def a_delivery(**values: Any) -> Delivery:
    target = WebhookTarget(url="https://example.com/")
    whole = {"id": "whd_", "event_id": "evt_", "type": "response.completed", "created_at": 1, "data": {}}
    return Delivery.model_validate({**whole, "tenant": "t", "target": target, **values})


def test_openais_sdk_verifies_what_two_secrets_signed() -> None:
    secrets = [new_webhook_secret(), new_webhook_secret()]
    body = body_of("evt_1", "response.completed", 5, {"id": "resp_é"})
    headers = headers_of("evt_1", body, secrets, now=int(time.time()))
    for secret in secrets:
        event = OpenAI(api_key="x").webhooks.unwrap(body, headers, secret=secret)
        assert cast(Any, event).data.id == "resp_é"
    assert hint_of(secrets[0]).endswith(secrets[0][-4:])
    assert len(hint_of(secrets[0])) < 12


def test_pauses_grow_to_four_hours_and_attempts_fill_a_day() -> None:
    delivery, begun, made = a_delivery(), time.time(), 0.0
    activity = sender()
    for attempt in range(1, 20):
        pause = pause_before(attempt, 5)
        if made + pause > 24 * 3600:
            break
        made += pause
    assert [pause_before(n, 5) for n in (1, 2, 3, 8, 50)] == [5, 30, 120, 14400, 14400]
    assert made > 20 * 3600
    early = activity._decided(
        delivery.model_copy(update={"begun_at": begun - 3600}), WebhookAttempt(at=begun), _Answer(500), is_final=False
    )
    late = activity._decided(
        delivery.model_copy(update={"begun_at": begun - 24 * 3600}),
        WebhookAttempt(at=begun),
        _Answer(500),
        is_final=False,
    )
    assert (early.status, late.status, late.retry_in) == ("pending", "failed", None)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (_Answer(200), "delivered"),
        (_Answer(299), "delivered"),
        (_Answer(302), "pending"),
        (_Answer(400), "pending"),
        (_Answer(429, retry_after=100), "pending"),
        (_Answer(503, retry_after=10**9), "failed"),
        (_Answer(error="timeout"), "pending"),
    ],
)
def test_a_2xx_alone_is_a_delivery(answer: _Answer, status: str) -> None:
    attempt = WebhookAttempt(at=time.time(), status=answer.status, error=answer.error)
    result = sender()._decided(a_delivery(), attempt, answer, is_final=False)
    assert result.status == status
    assert (result.retry_in or 0) >= (answer.retry_after or 0) or status == "failed"
    assert (result.attempt.error is None) == (status == "delivered")


async def test_an_address_that_resolves_to_a_private_one_is_refused_when_it_connects() -> None:
    async with WebhookReceiver() as receiver:
        url = f"http://localhost:{receiver.port}/guarded"
        refused = await sender()._post(url, b"{}", {}, is_trusted=False)
        trusted = Config(webhooks=WebhookDelivery(trusted_urls=(receiver.url("/a"),)))
        elsewhere = await sender(trusted)._post(receiver.url("/b"), b"{}", {}, is_trusted=False)
        allowed = await sender(trusted)._post(receiver.url("/a/b"), b"{}", {}, is_trusted=False)
        assert (refused.error, elsewhere.error, allowed.status) == ("forbidden_address", "forbidden_address", 200)
        assert set(receiver.paths) == {"/a/b"}


async def test_a_receiver_that_does_not_answer_is_given_up_in_time_and_one_that_compresses_has_answered() -> None:
    config = Config(webhooks=WebhookDelivery(timeout_seconds=0.2))
    async with WebhookReceiver() as receiver:
        receiver.answers("/slow", "hold")
        assert (await sender(config)._post(receiver.url("/slow"), b"{}", {}, is_trusted=True)).error == "timeout"
        receiver.answers("/gzip", 200, content_encoding="gzip")
        assert (await sender()._post(receiver.url("/gzip"), b"{}", {}, is_trusted=True)).status == 200


def test_the_same_event_is_one_delivery_however_often_it_is_found() -> None:
    response = {"id": RESPONSE, "status": "completed", "output": [{"type": "mcp_approval_request", "id": "mcpr_1"}]}
    targets = [
        WebhookTarget(url="https://a.example/"),
        WebhookTarget(url="https://b.example/", events=["response.failed"]),
    ]
    made = [
        AnnounceInput(
            response_id=RESPONSE, tenant="t", at=at, is_stored=True, targets=targets, news=news_of_end(response)
        ).deliveries()
        for at in (1, 2)
    ]
    assert [one.id for one in made[0]] == [one.id for one in made[1]]
    assert [one.type for one in made[0]] == ["response.completed", "response.awaiting_approval"]
    assert made[0][0].event_id == event_id(RESPONSE, "response.completed")
    answered = {**response, "output": [*response["output"], {"type": "mcp_call", "approval_request_id": "mcpr_1"}]}
    assert [one.type for one in news_of_end(answered)] == ["response.completed"]


def test_a_file_with_a_webhook_that_cannot_be_does_not_start() -> None:
    key: dict[str, Any] = {"tenant": "t", "sha256": "0" * 64}
    for webhook in ({"url": "x"}, {"secrets_env": []}, {"secrets_env": ["A", "B", "C"]}, {"events": ["nothing"]}):
        whole = {"url": "https://example.com/", "secrets_env": ["A"], **webhook}
        with pytest.raises(ValueError, match="webhooks"):
            ApiKeyConfig.model_validate({**key, "webhooks": [whole]})
    twice = {"url": "https://example.com/", "secrets_env": ["A"]}
    with pytest.raises(ValueError, match="webhooks of the API key"):
        Config.model_validate({"api_keys": [{**key, "webhooks": [twice, twice]}]})


async def test_attempts_without_a_result_do_not_fill_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour of one attempt a second is more than Temporal takes into a history, and ends the delivery for good."""

    async def execute_activity(*_: object, **__: object) -> None:
        raise ActivityError(
            "lost",
            scheduled_event_id=1,
            started_event_id=2,
            identity="",
            activity_type="",
            activity_id="",
            retry_state=None,
        )

    now = datetime(2026, 12, 1, tzinfo=UTC)
    fake = SimpleNamespace(execute_activity=execute_activity, now=lambda: now, logger=logging.getLogger("webhook"))
    monkeypatch.setattr("workflows.webhook.workflow", fake)
    sending = WebhookWorkflow(a_delivery(begun_at=now.timestamp()))
    pauses = []
    while (pause := (await sending._attempt()).retry_in) is not None:
        pauses.append(pause)
        now += timedelta(seconds=pause)
    assert pauses[:3] == [1, 2, 4]
    assert 100 < len(pauses) < 300
