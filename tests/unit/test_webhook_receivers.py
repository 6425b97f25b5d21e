"""Receivers that are hostile, slow or gone, addresses that are private in disguise, and attempts that send nothing."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from openai import OpenAI
from openai.types.webhooks import (
    ResponseCancelledWebhookEvent,
    ResponseCompletedWebhookEvent,
    ResponseFailedWebhookEvent,
    ResponseIncompleteWebhookEvent,
)
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.webhooks.send import SendActivity
from api.key_ring import RingKey
from api.webhooks.addresses import check_address
from open_responses.api_keys.state import ApiKeys, ApiKeysState, ChangeKey, CreateKey, StoredKey
from open_responses.config import Config
from open_responses.config_tables.api_keys import key_id
from open_responses.errors import InvalidRequest
from open_responses.io.redis.client import RedisDown
from open_responses.webhooks.deliveries import Delivery, SendResult, news_of_approvals, news_of_end
from open_responses.webhooks.endpoints import EndpointSecret, StoredEndpoint, WebhookDelivery, WebhookTarget
from open_responses.webhooks.signing import body_of, headers_of, new_webhook_secret

RESPONSE = "resp_" + "a" * 48
SECRET = new_webhook_secret()


def a_delivery(**values: Any) -> Delivery:
    target = WebhookTarget(url="https://example.com/", sealed="sealed:x")
    whole = {"id": "whd_", "event_id": "evt_", "type": "response.completed", "created_at": 1, "data": {}}
    return Delivery.model_validate({**whole, "tenant": "t", "target": target, **values})


@functools.cache
def sdk() -> OpenAI:
    return OpenAI(api_key="x")


# --- attempts that send nothing


class Broken:
    """A dependency whose every use fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [RedisDown[0]("away"), RPCError("away", RPCStatusCode.UNAVAILABLE, b""), OSError("the folder is away")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("is_single", [False, True])
async def test_an_attempt_that_fails_before_it_sends_is_logged_as_that(error: Exception, is_single: bool) -> None:
    broken = cast(Any, Broken(error))
    sender = SendActivity(broken, broken, broken, broken, Config(), {})
    delivery = a_delivery(response_id=RESPONSE, ends_with_response=True, is_single=is_single)
    result: SendResult = await ActivityEnvironment().run(sender.send, delivery)
    assert (result.attempt.error, result.attempt.status) == ("lookup_failed", None)
    assert result.status == ("failed" if is_single else "pending")
    assert (result.retry_in is None) == is_single


# --- receivers


@contextlib.asynccontextmanager
async def receiver(head: bytes, body: bytes = b"", pause: float = 0.0) -> AsyncIterator[tuple[str, list[int]]]:
    """Answers with a head, then with `body` again and again, and waits in between. Counts the bytes that it sent."""
    sent = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            for piece in [head] if not pause else [head[i : i + 1] for i in range(len(head))]:
                writer.write(piece)
                await asyncio.sleep(pause)
            while body:
                writer.write(body)
                await writer.drain()
                sent[0] += len(body)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", sent
    finally:
        server.close()


def trusting(seconds: float) -> SendActivity:
    parts = cast(Any, SimpleNamespace())
    config = Config(webhooks=WebhookDelivery(timeout_seconds=seconds, trusted_urls=("http://127.0.0.1/",)))
    return SendActivity(parts, parts, parts, parts, config, {})


async def test_a_receiver_that_trickles_its_answer_is_given_up_in_time() -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", pause=0.05) as (url, _):
        answer = await trusting(0.3)._post(url, b"{}", {}, is_trusted=True)
    assert (answer.status, answer.error) == (None, "timeout")


async def test_a_receiver_that_says_again_and_again_that_it_will_answer_is_given_up_in_time() -> None:
    async with receiver(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 10) as (url, _):
        answer = await trusting(0.3)._post(url, b"{}", {}, is_trusted=True)
    assert answer.status is None
    assert answer.error in ("timeout", "connection_failed")


async def test_a_body_without_an_end_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"
    async with receiver(head, b"x" * 65_536) as (url, sent):
        answer = await trusting(10)._post(url, b"{}", {}, is_trusted=True)
        assert answer.status == 200
        # What the sockets hold, and no gigabytes.
        assert sent[0] < 50_000_000


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "localhost",
        "LOCALHOST.",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fc00::1]",
        "[fec0::1]",
        "[ff02::1]",
    ],
)
async def test_a_private_address_is_refused_in_each_of_its_forms(host: str) -> None:
    url = f"http://{host}/hook"
    with pytest.raises(InvalidRequest) as refused:
        check_address(Config(), url, "webhook.url")
    assert refused.value.error_code == "forbidden_address"


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
async def test_a_connection_to_it_is_refused_whatever_the_letters_were(host: str) -> None:
    """The check of the letters cannot see what a name resolves to, so the connection checks the address itself."""
    parts = cast(Any, SimpleNamespace())
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, _):
        port = url.split(":")[2].split("/")[0]
        sender = SendActivity(parts, parts, parts, parts, Config(), {})
        answer = await sender._post(f"http://{host}:{port}/hook", b"{}", {}, is_trusted=False)
    assert (answer.status, answer.error) == (None, "forbidden_address")


# --- what is sent


@pytest.mark.parametrize(
    ("status", "read_as"),
    [
        ("completed", ResponseCompletedWebhookEvent),
        ("failed", ResponseFailedWebhookEvent),
        ("incomplete", ResponseIncompleteWebhookEvent),
        ("cancelled", ResponseCancelledWebhookEvent),
    ],
)
def test_openais_sdk_unwraps_the_event_of_each_end(status: str, read_as: Any) -> None:
    (news,) = news_of_end({"id": RESPONSE, "status": status, "output": []})
    body = body_of("evt_1", news.type, 5, news.data)
    event: Any = sdk().webhooks.unwrap(body, headers_of("evt_1", body, [SECRET], now=int(time.time())), secret=SECRET)
    assert type(event) is read_as
    assert (event.id, event.object, event.created_at, event.data.id) == ("evt_1", "event", 5, RESPONSE)
    # Nothing beside what OpenAI sends.
    assert set(event.model_dump()) == {"id", "object", "created_at", "type", "data"}
    assert event.data.model_dump() == {"id": RESPONSE}


def test_openais_sdk_unwraps_the_event_of_calls_that_wait_although_openai_has_none() -> None:
    news = news_of_approvals(RESPONSE, ["mcpr_1"])
    body = body_of("evt_1", news.type, 5, news.data)
    event: Any = sdk().webhooks.unwrap(body, headers_of("evt_1", body, [SECRET], now=int(time.time())), secret=SECRET)
    assert (event.type, event.data.id) == ("response.awaiting_approval", RESPONSE)
    assert event.data.approval_request_ids == ["mcpr_1"]


# --- an endpoint whose receiver is gone


def the_keys(*endpoints: StoredEndpoint) -> tuple[ApiKeys, StoredKey]:
    sha256 = hashlib.sha256(b"1").hexdigest()
    made = StoredKey(id=key_id(sha256), sha256=sha256, prefix="or-", tenant="t", created_at=1, webhooks=list(endpoints))
    keys = ApiKeys(ApiKeysState())
    keys.create(CreateKey(key=made, by="a", at=1.0))
    return keys, made


def an_endpoint(id: str) -> StoredEndpoint:
    secret = EndpointSecret(sealed="sealed:x", hint="whsec_…")
    return StoredEndpoint(id=id, name=id, url=f"https://{id}.example/", secrets=[secret], created_at=1, updated_at=1)


def test_an_endpoint_that_is_disabled_keeps_the_rest_of_what_it_has_and_gets_nothing() -> None:
    keys, made = the_keys(an_endpoint("whe_a"), an_endpoint("whe_b"))
    changes: dict[str, Any] = {"whe_a": {"disabled_at": 9}, "whe_removed": {"disabled_at": 9}}
    call = ChangeKey(id=made.id, values={"webhooks": changes}, by="webhook_receiver", at=9.0)
    keys.check_change(call)
    changed = keys.change(call)
    assert changed.webhooks == [an_endpoint("whe_a").model_copy(update={"disabled_at": 9}), an_endpoint("whe_b")]
    ring = RingKey(changed.config(), changed)
    assert [one.endpoint_id for one in ring.webhook_targets()] == ["whe_b"]
    assert [one.endpoint_id for one in ring.webhook_targets(with_disabled=True)] == ["whe_a", "whe_b"]
    assert "sealed:" not in keys.state.changes[-1].model_dump_json()
    assert keys.state.changes[-1].values["webhooks"][0]["disabled_at"] == 9  # type: ignore[index,call-overload]


def test_a_410_of_an_address_that_was_replaced_meanwhile_does_not_disable_the_endpoint() -> None:
    """The owner has sent the new address while the old one answered."""
    moved, stayed = an_endpoint("whe_a"), an_endpoint("whe_b")
    keys, made = the_keys(moved.model_copy(update={"url": "https://new.example/"}), stayed)
    before = keys.state.model_copy(deep=True)
    gone = {"disabled_at": 9}
    for one in (moved, stayed):
        call = ChangeKey(
            id=made.id,
            values={"webhooks": {one.id: gone}},
            by="webhook_receiver",
            at=9.0,
            only_for_urls={one.id: one.url},
        )
        keys.check_change(call)
        keys.change(call)
        if one is moved:
            assert keys.state == before, "neither disabled nor in the audit log"
    assert [one.disabled_at for one in keys.state.keys[0].webhooks] == [None, 9]


async def test_a_410_disables_the_endpoint_for_the_address_that_answered_it() -> None:
    sent: list[ChangeKey] = []

    async def execute_update(_: str, call: ChangeKey, **__: Any) -> StoredKey:
        sent.append(call)
        raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

    temporal = SimpleNamespace(get_workflow_handle=lambda _: SimpleNamespace(execute_update=execute_update))
    parts = cast(Any, SimpleNamespace())
    target = WebhookTarget(url="https://old.example/", endpoint_id="whe_a", key_id="key_a")
    sender = SendActivity(parts, cast(Any, temporal), parts, parts, Config(), {})
    await sender._disable(a_delivery(target=target))
    assert [call.only_for_urls for call in sent] == [{"whe_a": "https://old.example/"}]
