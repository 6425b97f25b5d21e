"""The JSON bodies of the endpoints for webhooks, as types. They are not validated at run time: `output_items.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict

from open_responses.json_types import JsonObject


class WebhookEndpoint(TypedDict):
    """An endpoint in OpenAI's shape, with `source` and `status`, which are ours.

    `source` is `file` for one of the configuration file, which stays as it is. One whose receiver has answered 410 is
    `disabled`.
    """

    object: Literal["webhook_endpoint"]
    id: str
    name: str
    url: str
    event_types: Sequence[str]
    signing_secret_hint: str | None
    created_at: int
    updated_at: int | None
    source: Literal["runtime", "file"]
    status: Literal["enabled", "disabled"]


class WebhookEndpointWithSecret(WebhookEndpoint):
    """An endpoint whose secret is new. No other answer has `signing_secret`."""

    signing_secret: str


class WebhookEndpointPage(TypedDict):
    """A page of endpoints."""

    object: Literal["list"]
    data: Sequence[WebhookEndpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedWebhookEndpoint(TypedDict):
    """The answer to the deletion of an endpoint."""

    id: str
    object: Literal["webhook_endpoint.deleted"]
    deleted: Literal[True]


class WebhookEndpointTest(TypedDict):
    """What the receiver answered to a test event. `delivery_id`, ours: the test in the log of deliveries."""

    object: Literal["webhook_endpoint.test"]
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True]
    delivery_id: str


class WebhookEventTypeList(TypedDict):
    """The types of events."""

    object: Literal["list"]
    data: Sequence[str]


class WebhookAttempt(TypedDict):
    """One attempt at a delivery. `status` is that of HTTP; null if no answer came. `error` is null after a 2xx."""

    at: float
    status: int | None
    error: str | None
    duration_ms: int


class WebhookDelivery(TypedDict):
    """An event on its way to one receiver. `attempts` are the newest, oldest first; `attempt_count` counts all."""

    object: Literal["webhook_delivery"]
    id: str
    event_id: str
    type: str
    created_at: int
    data: JsonObject
    response_id: str | None
    webhook_endpoint_id: str | None
    url: str
    tenant: str
    status: Literal["pending", "delivered", "failed"]
    attempts: Sequence[WebhookAttempt]
    attempt_count: int
    next_attempt_at: float | None


class WebhookDeliveryPage(TypedDict):
    """A page of deliveries. `last_id`, sent as `after`, gets the next page."""

    object: Literal["list"]
    data: Sequence[WebhookDelivery]
    first_id: str | None
    last_id: str | None
    has_more: bool
