"""Makes one attempt to send a webhook.

What this prevents: a request to a private address that a client has named, also by a name that resolves to one at the
moment of connecting; an answer that is read without end; and a secret or an address in a log line.
"""

from __future__ import annotations

import asyncio
import importlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import structlog
from temporalio import activity
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities.providers.shared.retry_after import wait_of
from open_responses.api_keys.state import API_KEYS_ID, CHANGE, ChangeKey, StoredKey
from open_responses.config import Config
from open_responses.io.background import in_background
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.api_keys import ApiKeyCopy
from open_responses.io.redis.client import Redis, RedisError
from open_responses.io.sealing import SealBroken, Sealer
from open_responses.io.temporal.client import TemporalDown
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.stored_keys import stored_key
from open_responses.schema.webhooks import secret_problem
from open_responses.webhooks.deliveries import SEND_WEBHOOK, Delivery, SendResult, WebhookAttempt, pause_before
from open_responses.webhooks.signing import body_of, headers_of

if TYPE_CHECKING:
    import httpx2

log = structlog.get_logger(__name__)

_GONE = 410
_BY_RECEIVER = "webhook_receiver"
"""Who disabled an endpoint, in the audit log of the keys."""
# A quarter of the time after which Temporal takes the worker for lost (`workflows/webhook.py`).
_HEARTBEAT_SECONDS = 3.0
_DISABLE_TIMEOUT = timedelta(seconds=10)
# The body of an answer is not read; this bounds what the connection receives of it meanwhile.
_MOST_BYTES = 64 * 1024


class NotSent(Exception):
    """No request is made. `code` goes into the delivery's log; `is_final`: another attempt would end the same."""

    def __init__(self, code: str, *, is_final: bool) -> None:
        super().__init__(code)
        self.code = code
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Receiver:
    """The receiver of an attempt: the secrets that sign it, and whether the address may be a private one.

    `is_disabled_by_410`: a 410 disables the endpoint.
    """

    secrets: list[str]
    is_trusted: bool
    is_disabled_by_410: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came back. `error` is a code; None where there was an answer."""

    status: int | None = None
    retry_after: float | None = None
    error: str | None = None


@dataclass(slots=True)
class SendActivity:
    """The activity, with the clients that it uses. `config` is replaced when the configuration file changes."""

    redis: Redis
    temporal: Client
    sealer: Sealer
    marks: ErasureMarks
    config: Config
    environ: Mapping[str, str]

    @activity.defn(name=SEND_WEBHOOK)
    async def send(self, delivery: Delivery) -> SendResult:
        """Make one attempt, and decide whether there is another."""
        began, ticks = time.time(), time.monotonic()
        beats = in_background("heartbeat", _beat())
        try:
            receiver, body, headers = await self._prepared(delivery, now=int(began))
            answer = await self._post(delivery.target.url, body, headers, is_trusted=receiver.is_trusted)
            is_final = answer.status == _GONE or answer.error == "forbidden_address"
            if answer.status == _GONE and receiver.is_disabled_by_410:
                await self._disable(delivery)
        except NotSent as problem:
            answer, is_final = _Answer(error=problem.code), problem.is_final
        finally:
            beats.cancel()
        attempt = WebhookAttempt(
            at=began,
            status=answer.status,
            error=answer.error,
            duration_ms=round((time.monotonic() - ticks) * 1000),
        )
        result = self._decided(delivery, attempt, answer, is_final=is_final)
        metrics.webhook_attempted(result.status)
        log.info(
            "webhook_attempt",
            delivery=delivery.id,
            response_id=delivery.response_id,
            type=delivery.type,
            status=answer.status,
            error=answer.error,
            outcome=result.status,
        )
        return result

    def _decided(self, delivery: Delivery, attempt: WebhookAttempt, answer: _Answer, *, is_final: bool) -> SendResult:
        if answer.status is not None and 200 <= answer.status < 300:
            return SendResult(attempt=attempt, status="delivered")
        if attempt.error is None:
            attempt.error = "gone" if answer.status == _GONE else "status"
        settings = self.config.webhooks
        begun = delivery.begun_at or attempt.at
        own = _attempts_since(delivery, begun)
        pause = max(pause_before(own + 1, settings.retry_seconds), answer.retry_after or 0.0)
        left = begun + settings.give_up_after_seconds - time.time()
        if is_final or delivery.is_single or pause > left:
            return SendResult(attempt=attempt, status="failed")
        return SendResult(attempt=attempt, status="pending", retry_in=pause)

    # --- the receiver

    async def _prepared(self, delivery: Delivery, *, now: int) -> tuple[Receiver, bytes, dict[str, str]]:
        """The receiver, and the body and the headers of the request. Raises NotSent."""
        try:
            receiver = await self._receiver(delivery)
            body = body_of(delivery.event_id, delivery.type, delivery.created_at, delivery.data)
            return receiver, body, headers_of(delivery.event_id, body, receiver.secrets, now=now)
        except NotSent:
            raise
        except Exception as failure:
            # Redis, Temporal or the shared folder. Unlike an attempt whose outcome is unknown, this one sent nothing.
            log.warning("webhook_not_prepared", delivery=delivery.id, reason=f"{type(failure).__name__}: {failure}")
            raise NotSent("lookup_failed", is_final=False) from failure

    async def _receiver(self, delivery: Delivery) -> Receiver:
        """The current secrets: one that was replaced while a response ran signs no later attempt."""
        target = delivery.target
        if delivery.ends_with_response and await asyncio.to_thread(self.marks.is_hidden, delivery.response_id):
            raise NotSent("response_deleted", is_final=True)
        if target.sealed is not None:
            return Receiver(self._of_the_request(target.sealed, delivery.response_id), is_trusted=False)
        for key in self.config.api_keys:
            if key.id == target.key_id:
                for hook in key.webhooks:
                    if hook.id_for(key.id) == target.endpoint_id:
                        return Receiver(self._of_the_environment(hook.secrets_env), is_trusted=True)
        return await self._of_the_endpoint(delivery)

    def _of_the_request(self, sealed: str, response_id: str) -> list[str]:
        try:
            found: list[str] = orjson.loads(self.sealer.unseal(sealed, bound_to=response_id))
        except SealBroken:
            raise NotSent("secret_unreadable", is_final=False) from None
        return found

    def _of_the_environment(self, names: tuple[str, ...]) -> list[str]:
        found = [secret for name in names if (secret := self.environ.get(name)) and secret_problem(secret) is None]
        if not found:
            raise NotSent("secret_missing", is_final=False)
        return found

    async def _of_the_endpoint(self, delivery: Delivery) -> Receiver:
        key_id, endpoint_id = delivery.target.key_id, delivery.target.endpoint_id
        key = await stored_key(self.redis, self.temporal, key_id)
        endpoint = None
        if key is not None and key.revoked_at is None:
            endpoint = next((one for one in key.webhooks if one.id == endpoint_id), None)
        if endpoint is None:
            raise NotSent("endpoint_removed", is_final=True)
        # A test may be sent to a disabled endpoint: its owner wants to know whether it is back.
        if endpoint.disabled_at is not None and not delivery.is_single:
            raise NotSent("endpoint_disabled", is_final=True)
        now = time.time()
        in_force = [one for one in endpoint.secrets if one.expires_at is None or one.expires_at > now]
        try:
            secrets = [self.sealer.unseal(one.sealed, bound_to=endpoint_id).decode() for one in in_force]
        except SealBroken:
            raise NotSent("secret_unreadable", is_final=False) from None
        # The receiver of an earlier address says nothing about the present one.
        is_current = endpoint.url == delivery.target.url and endpoint.disabled_at is None
        return Receiver(secrets, is_trusted=False, is_disabled_by_410=is_current)

    async def _disable(self, delivery: Delivery) -> None:
        """Send the endpoint nothing more, as Standard Webhooks asks for after a 410. If this fails, the next 410 does
        it.

        The owner may have given the endpoint another address while this one answered: it stays enabled then.
        """
        target, now = delivery.target, time.time()
        values = {"webhooks": {target.endpoint_id: {"disabled_at": int(now)}}}
        only_for = {target.endpoint_id: target.url}
        call = ChangeKey(id=target.key_id, values=values, by=_BY_RECEIVER, at=now, only_for_urls=only_for)
        keys = self.temporal.get_workflow_handle(API_KEYS_ID)
        try:
            key = await keys.execute_update(CHANGE, call, result_type=StoredKey, rpc_timeout=_DISABLE_TIMEOUT)
            await ApiKeyCopy(self.redis).outdate()
        except (WorkflowUpdateFailedError, RPCError, *TemporalDown, RedisError, OSError) as failure:
            # The answer is known, and stays the outcome of the attempt.
            log.warning("webhook_endpoint_not_disabled", endpoint=target.endpoint_id, reason=type(failure).__name__)
            return
        if any(one.id == target.endpoint_id and one.disabled_at is not None for one in key.webhooks):
            log.info("webhook_endpoint_disabled", endpoint=target.endpoint_id)
        else:
            log.info("webhook_endpoint_not_disabled", endpoint=target.endpoint_id, reason="moved or removed")

    # --- the request

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str], *, is_trusted: bool) -> _Answer:
        # In a thread, so that the streams of this worker go on meanwhile: no other part imports the library at start.
        await asyncio.to_thread(importlib.import_module, "activities.tools.guarded_http")
        import httpx2

        from activities.tools.guarded_http import ForbiddenAddress, GuardedTransport

        heads: list[_Answer] = []
        faults: list[Exception] = []

        def on_answer(_: httpx2.Request, response: httpx2.Response) -> None:
            heads.append(_Answer(response.status_code, _wait(response.headers)))

        transport = GuardedTransport(
            allow_private=is_trusted or self.config.allow_private_addresses or self.config.webhooks.trusts(url),
            max_bytes=_MOST_BYTES,
            on_answer=on_answer,
            on_fault=faults.append,
        )
        seconds = self.config.webhooks.timeout_seconds
        error = "connection_failed"
        try:
            # Only the head of the answer counts: neither a redirect is followed nor a body read.
            async with (
                asyncio.timeout(seconds),
                httpx2.AsyncClient(transport=transport, timeout=seconds, trust_env=False) as client,
                client.stream("POST", url, content=body, headers=dict(headers), follow_redirects=False),
            ):
                pass
        except (TimeoutError, httpx2.TimeoutException):
            error = "timeout"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ForbiddenAddress, UnicodeError) as failure:
            log.debug("webhook_not_sent", reason=type(failure).__name__)
        except Exception as failure:  # noqa: BLE001 - the border to a foreign server: its fault is an entry of the log
            log.warning("webhook_not_sent", reason=type(failure).__name__)
        if heads:
            return heads[0]
        is_forbidden = any(isinstance(fault, ForbiddenAddress) for fault in faults)
        return _Answer(error="forbidden_address" if is_forbidden else error)


async def _beat() -> None:
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        activity.heartbeat()


def _wait(headers: Mapping[str, str]) -> float | None:
    """The receiver's Retry-After, in seconds; None where it sends none that can be read."""
    try:
        seconds = wait_of(headers)
    except OverflowError:
        return None
    return seconds if seconds is not None and math.isfinite(seconds) and seconds >= 0 else None


def _attempts_since(delivery: Delivery, begun: float) -> int:
    """The attempts of this run of the delivery, without those before a replay."""
    return sum(attempt.at >= begun for attempt in delivery.attempts)
