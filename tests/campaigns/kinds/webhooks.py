"""A response with a webhook, to a receiver that refuses, hangs up or is slow: its event arrives, under one id."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from typing import Any

from tests.campaigns.answers import Answer, Misfit, Verdict
from tests.campaigns.connection import Connection
from tests.campaigns.sessions import Sessions
from tests.support.webhook_receiver import Path, WebhookReceiver

KIND = "webhook"
_LOOK_SECONDS = 0.3
# What the receiver does with the attempts before the one that it accepts; "hold": it accepts after a second, so that
# a worker dies between the sending and the result now and then.
_REFUSALS: tuple[tuple[int | str, ...], ...] = ((), (500,), ("drop",), (503, "drop"), ("hold",), ("hold",))
_HOLD_SECONDS = 1.0


async def webhook(sessions: Sessions, connection: Connection) -> None:
    receiver = sessions.servers.receiver
    secret = "whsec_" + base64.b64encode(sessions.draw.randbytes(32)).decode()
    answer = sessions.ask(KIND, background=sessions.draw.random() < 0.5)
    path = receiver.answers(f"/{answer.tag}", *sessions.draw.choice(_REFUSALS), 200)
    answer.body["webhook"] = {"url": receiver.url(f"/{answer.tag}"), "secret": secret}

    async def asking() -> None:
        releasing = asyncio.create_task(_release(path))
        try:
            await connection.stream(answer)
            answer.waits_for = "the delivery of its webhook"
            await _check_log(connection, answer)
        finally:
            releasing.cancel()
            path.released.set()

    await sessions.settled(connection, [answer], asking())


async def _release(path: Path) -> None:
    await path.held.wait()
    await asyncio.sleep(_HOLD_SECONDS)
    path.released.set()


async def _check_log(connection: Connection, answer: Answer) -> None:
    """Wait until the log of deliveries has the one delivery, as delivered."""
    rows: list[dict[str, Any]] = []
    while [row["status"] for row in rows] != ["delivered"]:
        if len(rows) > 1:
            raise Misfit(Verdict.DOUBLED, f"one end has {len(rows)} deliveries")
        if rows and rows[0]["status"] == "failed":
            raise Misfit(Verdict.LOST, f"the delivery has failed: {rows[0]['attempts'][-1]}")
        await asyncio.sleep(_LOOK_SECONDS)
        rows = (await connection.request("GET", "/v1/webhook_deliveries", params={"response_id": str(answer.id)}))[
            "data"
        ]


def check_webhooks(answers: list[Answer], receiver: WebhookReceiver) -> None:
    """What has arrived by the campaign's end: one event for each response, which may have been sent repeatedly."""
    for answer in answers:
        if answer.kind == KIND and answer.response is not None:
            try:
                _check_received(answer, answer.response, receiver.paths[f"/{answer.tag}"])
            except Misfit as misfit:
                answer.settle(misfit.verdict, misfit.detail)


def _check_received(answer: Answer, response: dict[str, Any], path: Path) -> None:
    if not path.requests:
        raise Misfit(Verdict.LOST, "its webhook was never sent")
    if len(ids := {request.id for request in path.requests}) > 1:
        raise Misfit(Verdict.DOUBLED, f"one end was sent as {len(ids)} events")
    if len({request.body for request in path.requests}) > 1:
        raise Misfit(Verdict.WRONG, "a repeated event has another body")
    event = path.requests[0].event
    if (event["type"], event["data"]) != (f"response.{response['status']}", {"id": answer.id}):
        raise Misfit(Verdict.WRONG, f"a response that {response['status']} has the event {event}")
    secret = answer.body["webhook"]["secret"]
    for request in path.requests:
        signed = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
        digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        if request.headers["webhook-signature"] != f"v1,{base64.b64encode(digest).decode()}":
            raise Misfit(Verdict.WRONG, f"a webhook with the signature {request.headers['webhook-signature']}")
