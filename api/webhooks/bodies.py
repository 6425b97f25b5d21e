"""What a client sends to create, change, rotate or test an endpoint. The names are OpenAI's."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from open_responses.schema.validation import RequestObject, fault
from open_responses.schema.webhooks import WebhookEvent, WebhookEvents, WebhookUrl


def _printable(name: str) -> str:
    """It goes onto an operator's screen."""
    if not (name.isprintable() and name.strip()):
        raise fault("invalid_value", "must have printable characters only, and not spaces alone")
    return name


_Name = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]


class CreateWebhookEndpoint(RequestObject):
    """`POST /v1/webhook_endpoints`."""

    name: _Name
    url: WebhookUrl
    event_types: WebhookEvents


class UpdateWebhookEndpoint(RequestObject):
    """`POST /v1/webhook_endpoints/{id}`: what is not given stays as it is."""

    name: _Name | None = None
    url: WebhookUrl | None = None
    event_types: WebhookEvents | None = None


class RotateWebhookSecret(RequestObject):
    """`POST /v1/webhook_endpoints/{id}/rotate_secret`."""

    keep_old_secret_active_for_24_hours: bool | None = None


class TestWebhookEndpoint(RequestObject):
    """`POST /v1/webhook_endpoints/{id}/test`."""

    # pytest would take the class for a test.
    __test__ = False

    event_type: WebhookEvent
