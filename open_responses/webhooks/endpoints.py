"""Where events are sent: the endpoints of an API key, and the address in a request."""

from __future__ import annotations

import hashlib
import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload
from open_responses.schema.url_parts import is_below
from open_responses.schema.webhooks import MOST_SECRETS, WebhookEvent, url_problem

_ENDPOINT_ID = re.compile(r"whe_[0-9a-f]{24}")
_ID_DIGITS = 24


def is_endpoint_id(text: str) -> bool:
    """Return whether a text has the form of an endpoint's id."""
    return _ENDPOINT_ID.fullmatch(text) is not None


class WebhookConfig(BaseModel):
    """An `[[api_keys.webhooks]]` table: an endpoint that gets the events of the background responses of the key.

    Attributes:
        url: The address. It may be a private one, as that of a configured MCP server may.
        secrets_env: The environment variables with the secrets (`whsec_…`) that sign. Two sign at once, while a
            receiver replaces one by the other.
        events: The events that are sent; all if empty.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    secrets_env: tuple[str, ...] = Field(min_length=1, max_length=MOST_SECRETS)
    events: tuple[WebhookEvent, ...] = ()

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        problem = url_problem(url)
        if problem is not None:
            raise ValueError(problem)
        return url

    def id_for(self, key_id: str) -> str:
        """Return the endpoint's id. Another address is another endpoint."""
        return "whe_" + hashlib.sha256(f"{key_id} {self.url}".encode()).hexdigest()[:_ID_DIGITS]


class WebhookDelivery(BaseModel):
    """The `[webhooks]` table: how events are sent.

    Attributes:
        timeout_seconds: The longest time of one attempt.
        retry_seconds: The pause before the second attempt. Later pauses grow up to four hours.
        give_up_after_seconds: The time after the first attempt at which a delivery fails.
        max_endpoints_per_key: The most endpoints that a key can create through `/v1/webhook_endpoints`.
        trusted_urls: Addresses that requests and keys may name although they are private, each with the paths below it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    timeout_seconds: float = Field(default=15, gt=0, le=60)
    retry_seconds: float = Field(default=5, ge=0.05, le=3600)
    give_up_after_seconds: float = Field(default=24 * 3600, gt=0, le=7 * 24 * 3600)
    max_endpoints_per_key: int = Field(default=10, ge=0, le=100)
    trusted_urls: tuple[str, ...] = ()

    @field_validator("trusted_urls")
    @classmethod
    def _are_addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            problem = url_problem(url)
            if problem is not None:
                raise ValueError(f"{url!r} {problem}")
        return urls

    def trusts(self, url: str) -> bool:
        """Return whether an address may be private: it is one of `trusted_urls`, or below one."""
        return any(is_below(trusted, url) for trusted in self.trusted_urls)


class EndpointSecret(Payload):
    """A secret of an endpoint, sealed for the endpoint's id.

    `expires_at`: Unix seconds from which on it does not sign any more; None for one that was not replaced.
    """

    sealed: str
    hint: str
    expires_at: int | None = None


class StoredEndpoint(Payload):
    """An endpoint that was created at run time. Times are Unix seconds; without `event_types`, all are sent.

    `disabled_at`: its receiver answered 410 then, and gets nothing more; None for one that is in use.
    """

    id: str
    name: str
    url: str
    event_types: list[str] = []
    secrets: list[EndpointSecret] = []
    created_at: int
    updated_at: int
    disabled_at: int | None = None

    def shown(self) -> JsonObject:
        """Return what the audit log has of the endpoint: nothing secret."""
        shown: JsonObject = {"id": self.id, "name": self.name, "url": self.url, "event_types": list(self.event_types)}
        return shown if self.disabled_at is None else {**shown, "disabled_at": self.disabled_at}


class WebhookTarget(Payload):
    """Where the events of a response are sent.

    Attributes:
        endpoint_id: The endpoint of an API key; empty for the webhook of a request.
        key_id: The key whose endpoint it is. Its secrets and its existence are looked up at each attempt.
        url: The address.
        events: The events that are sent; all if empty.
        sealed: The secrets of a request's webhook as JSON, sealed for the response's id.
    """

    endpoint_id: str = ""
    key_id: str = ""
    url: str
    events: list[str] = []
    sealed: str | None = None

    def wants(self, kind: str) -> bool:
        """Return whether an event of this type is sent there."""
        return not self.events or kind in self.events
