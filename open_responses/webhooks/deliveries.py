"""One delivery: an event on its way to one target, with its attempts. It is a workflow of its own."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload
from open_responses.schema.webhooks import AWAITING_APPROVAL_EVENT
from open_responses.webhooks.endpoints import WebhookTarget

WEBHOOK_WORKFLOW = "WebhookWorkflow"
SEND_WEBHOOK = "send_webhook"
ANNOUNCE_WEBHOOKS = "announce_webhooks"
SEND_NOW = "send_now"
"""The signal that ends a pause."""
DELIVERY_MEMO = "open_responses_webhook_delivery"
"""The name of a `Delivery` in the memo of its run: lists read it without a worker."""

TEST_DATA_ID = "resp_" + "0" * 48
"""The response that a test event names. There is none of this id."""

_DELIVERY_ID = re.compile(r"whd_[0-9a-f]{64}")
_RESPONSE_DIGITS, _REST_DIGITS, _EVENT_DIGITS = 48, 16, 48
KEPT_ATTEMPTS = 30
"""The newest attempts, which a delivery's log has. A day of retries takes less than half of them."""


class WebhookAttempt(Payload):
    """One attempt. `at` is in Unix seconds. `status` is that of HTTP, None if no answer came. `error` is a code."""

    at: float
    status: int | None = None
    error: str | None = None
    duration_ms: int = 0


DeliveryStatus = Literal["pending", "delivered", "failed"]


class Delivery(Payload):
    """The input, the memo and the result of a delivery's workflow.

    Attributes:
        id: The id of the delivery and of its workflow.
        event_id: The id of the event, the same for all targets and in each attempt.
        type: The event's type.
        created_at: The time of the event, in Unix seconds.
        data: The event's data: ids, and no content.
        tenant: The owner.
        response_id: The response, empty for a test.
        target: Where it is sent.
        ends_with_response: A deletion of the response ends the delivery. False for a response with `store: false`,
            which is erased as soon as it ends, and for a test.
        is_single: Only one attempt is made, as for a test.
        status: The outcome so far.
        attempts: The newest attempts, oldest first.
        made: The number of all attempts.
        next_at: The time of the next attempt, in Unix seconds; None if there is none.
        begun_at: The time from which on attempts count towards giving up, in Unix seconds.
    """

    id: str
    event_id: str
    type: str
    created_at: int
    data: JsonObject
    tenant: str
    response_id: str = ""
    target: WebhookTarget
    ends_with_response: bool = False
    is_single: bool = False
    status: DeliveryStatus = "pending"
    attempts: list[WebhookAttempt] = []
    made: int = 0
    next_at: float | None = None
    begun_at: float | None = None

    def again(self) -> Delivery:
        """Return the delivery as a replay begins it: with its log, and the whole time before it."""
        return self.model_copy(update={"status": "pending", "next_at": None, "begun_at": None})


class SendResult(Payload):
    """The outcome of one attempt. `retry_in`: seconds to the next attempt, None where there is none."""

    attempt: WebhookAttempt
    status: DeliveryStatus
    retry_in: float | None = None


class WebhookNews(Payload):
    """An event of a response. `key` distinguishes it from others of the same type."""

    type: str
    data: JsonObject
    key: str = ""


class AnnounceInput(Payload):
    """The input of the activity that starts the deliveries of a response's events. `at` is in Unix seconds."""

    response_id: str
    tenant: str
    at: int
    is_stored: bool
    targets: list[WebhookTarget]
    news: list[WebhookNews]

    def deliveries(self) -> list[Delivery]:
        """Return one delivery for each event and target that wants it. Their ids depend on nothing else."""
        return [
            Delivery(
                id=delivery_id(self.response_id, event, target),
                event_id=event,
                type=one.type,
                created_at=self.at,
                data=one.data,
                tenant=self.tenant,
                response_id=self.response_id,
                target=target,
                ends_with_response=self.is_stored,
            )
            for one in self.news
            for event in [event_id(self.response_id, one.type, one.key)]
            for target in self.targets
            if target.wants(one.type)
        ]


def is_delivery_id(text: str) -> bool:
    """Return whether a text has the form of a delivery's id."""
    return _DELIVERY_ID.fullmatch(text) is not None


def event_id(response_id: str, kind: str, key: str = "") -> str:
    """Return the id of an event. It is the same wherever and however often the event is found."""
    return "evt_" + hashlib.sha256(f"{response_id} {kind} {key}".encode()).hexdigest()[:_EVENT_DIGITS]


def delivery_id(response_id: str, event: str, target: WebhookTarget) -> str:
    """Return the id of a delivery. It begins with that of its response, so that a deletion finds it."""
    digest = hashlib.sha256(f"{event} {target.endpoint_id} {target.url}".encode()).hexdigest()
    return deliveries_of(response_id) + digest[:_REST_DIGITS]


def deliveries_of(response_id: str) -> str:
    """Return the beginning that the ids of a response's deliveries have in common."""
    return "whd_" + response_id.removeprefix("resp_")


def news_of_end(response: JsonObject) -> list[WebhookNews]:
    """Return the events of a response that has ended: its end, and the approvals that a later response can give."""
    status, response_id = response["status"], response["id"]
    found = [WebhookNews(type=f"response.{status}", data={"id": response_id})]
    if status == "completed":
        answered = {item.get("approval_request_id") for item in response["output"]}
        waiting = [
            item["id"]
            for item in response["output"]
            if item["type"] == "mcp_approval_request" and item["id"] not in answered
        ]
        if waiting:
            found.append(news_of_approvals(response_id, waiting))
    return found


def news_of_approvals(response_id: str, approval_ids: Sequence[str]) -> WebhookNews:
    """Return the event of calls that wait for a person."""
    data = {"id": response_id, "approval_request_ids": list(approval_ids)}
    return WebhookNews(type=AWAITING_APPROVAL_EVENT, data=data, key=" ".join(approval_ids))


_PAUSES = (1, 6, 24, 120, 360, 720, 1440, 2880)
"""Of the first pause: 5 s, 30 s, 2 min, 10 min, 30 min, 1 h, 2 h, 4 h, and four hours from then on."""


def pause_before(attempt: int, first_seconds: float) -> float:
    """Return the seconds between an attempt, counted from 1, and the next."""
    return first_seconds * _PAUSES[min(attempt, len(_PAUSES)) - 1]
