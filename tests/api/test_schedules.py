"""Schedules: requests that run at a time or on a cron expression, with the checks and the limits of their key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.schedules import REQUEST, SCHEDULES, made, once_ended, run_of
from tests.support.stack import Stack, until
from tests.support.webhook_receiver import WebhookReceiver


async def test_a_request_runs_once_at_its_time_as_any_other_and_its_webhook_fires(
    client: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    secret = "whsec_" + "A" * 44
    request = {**REQUEST, "webhook": {"url": receiver.url("/scheduled"), "secret": secret}, "metadata": {"of": "mine"}}
    schedule = await made(client, request=request, at=int(time.time()) + 3600, name="once", metadata={"a": "b"})
    assert (schedule["status"], schedule["cron"], schedule["metadata"]) == ("active", None, {"a": "b"})
    assert schedule["next_runs"] == [schedule["at"]]
    assert schedule["request"]["webhook"] == {"url": receiver.url("/scheduled")}, "without its secret"
    changed = await client.post(f"{SCHEDULES}/{schedule['id']}", json={"at": int(time.time()) + 2})
    assert changed.status_code == 200, changed.text
    run = await run_of(client, schedule, "ended")
    response = (await client.get(f"/v1/responses/{run['response_id']}")).json()
    assert (response["status"], response["background"], response["metadata"]) == ("completed", True, {"of": "mine"})
    assert run["response_status"] == "completed"

    async def is_sent() -> bool:
        return bool(receiver.paths["/scheduled"].requests)

    await until(is_sent)
    assert receiver.paths["/scheduled"].requests[0].event["data"]["id"] == run["response_id"]
    after = (await client.get(f"{SCHEDULES}/{schedule['id']}")).json()
    assert (after["status"], after["run_count"]) == ("ended", 1)
    assert (await client.delete(f"{SCHEDULES}/{schedule['id']}")).json()["deleted"] is True
    is_error(await client.get(f"{SCHEDULES}/{schedule['id']}"), 404, "not_found", "schedule_id")
    assert (await client.get(f"/v1/responses/{run['response_id']}")).status_code == 200


async def test_a_cron_schedule_is_paused_changed_resumed_and_triggered(stack: Stack, client: httpx.AsyncClient) -> None:
    schedule = await made(client, cron="30 9 * * mon-fri", timezone="Europe/Berlin")
    path = f"{SCHEDULES}/{schedule['id']}"
    local = datetime.fromtimestamp(schedule["next_runs"][0], UTC)
    assert (local.minute, local.hour in (7, 8), local.weekday() < 5, len(schedule["next_runs"])) == (30, True, True, 5)
    paused = (await client.post(f"{path}/pause")).json()
    assert (paused["status"], paused["next_runs"]) == ("paused", [])
    changed = (await client.post(path, json={"cron": "0 0 1 * *", "overlap": "queue", "name": "new"})).json()
    assert [changed[name] for name in ("cron", "overlap", "name", "status")] == ["0 0 1 * *", "queue", "new", "paused"]
    assert changed["timezone"] == "Europe/Berlin"
    assert (await client.post(f"{path}/resume")).json()["status"] == "active"
    await stack.flush()
    assert (await client.post(f"{path}/trigger")).status_code == 202
    first = await run_of(client, schedule, "ended")

    async def is_another_second() -> bool:
        # Temporal names a run by the second in which it began.
        return time.time() >= int(first["started_at"]) + 2

    await until(is_another_second)
    assert (await client.post(f"{path}/trigger")).status_code == 202

    async def both() -> bool:
        runs = (await client.get(f"{path}/runs")).json()["data"]
        return len({run["response_id"] for run in runs if run["status"] == "ended"}) == 2

    await until(both, 60)
    page = (await client.get(f"{path}/runs", params={"limit": 1})).json()
    rest = (await client.get(f"{path}/runs", params={"limit": 1, "after": page["last_id"]})).json()
    assert page["has_more"] is True
    assert [page["data"][0]["response_id"] != first["response_id"], rest["data"][0]["id"]] == [True, first["id"]]
    await client.delete(path)


async def test_a_run_has_the_local_time_over_the_change_of_the_clocks(client: httpx.AsyncClient) -> None:
    zone = ZoneInfo("Europe/Berlin")
    schedule = await made(client, cron="30 2 * mar,oct sun", timezone="Europe/Berlin", paused=False)
    coming = [datetime.fromtimestamp(at, zone) for at in schedule["next_runs"]]
    assert {(at.hour, at.minute, at.weekday()) for at in coming} == {(2, 30, 6)}, coming
    await client.delete(f"{SCHEDULES}/{schedule['id']}")


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "cron"),
        ({"cron": "@daily", "at": 9_999_999_999}, "mutually_exclusive_parameters", "at"),
        ({"cron": "* * * * * *"}, "invalid_value", "cron"),
        ({"cron": "61 * * * *"}, "invalid_value", "cron"),
        ({"cron": "0 0 31 2 *"}, "invalid_value", "cron"),
        ({"cron": "@every 1s"}, "invalid_value", "cron"),
        ({"cron": "@daily", "timezone": "Mars/Phobos"}, "invalid_value", "timezone"),
        ({"at": 1}, "invalid_value", "at"),
        ({"at": "2026-12-01T09:00:00"}, "invalid_value", "at"),
        ({"at": "2999-12-01T09:00:00Z", "timezone": "UTC"}, "invalid_value", "timezone"),
        ({"cron": "@daily", "overlap": "wait"}, "invalid_value", "overlap"),
        ({"cron": "@daily", "request": None}, "missing_required_parameter", "request"),
        ({"cron": "@daily", "request": {"model": "fake"}}, "missing_required_parameter", "request.input"),
        ({"cron": "@daily", "request": {"model": "no-such", "input": "x"}}, "model_not_found", "request.model"),
        ({"cron": "@daily", "request": {**REQUEST, "temperature": 9}}, "invalid_value", "request.temperature"),
        ({"cron": "@daily", "request": {**REQUEST, "stream": True}}, "invalid_value", "request.stream"),
        ({"cron": "@daily", "request": {**REQUEST, "store": False}}, "invalid_value", "request.store"),
        ({"cron": "@daily", "request": {**REQUEST, "input": "x" * 70_000}}, "invalid_value", "request"),
        (
            {"cron": "@daily", "request": {**REQUEST, "previous_response_id": "resp_" + "0" * 48}},
            "previous_response_not_found",
            "request.previous_response_id",
        ),
        (
            {
                "cron": "@daily",
                "request": {**REQUEST, "webhook": {"url": "http://10.0.0.1/", "secret": "whsec_" + "A" * 44}},
            },
            "forbidden_address",
            "request.webhook.url",
        ),
        ({"cron": "@daily", "every": 5}, "unknown_parameter", "every"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused_before_anything_is_kept(
    client: httpx.AsyncClient, body: dict[str, Any], code: str, param: str
) -> None:
    answer = await client.post(SCHEDULES, json={"request": REQUEST, **body})
    is_error(answer, 404 if code == "model_not_found" else 400, code, param)


async def test_a_run_is_open_until_its_response_has_ended_also_where_that_is_cancelled(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    held = upstream.says("scheduled and slow", Script(words=5, hold_after=2))
    schedule = await made(client, cron="@yearly", request={**REQUEST, "input": "scheduled and slow"})
    await client.post(f"{SCHEDULES}/{schedule['id']}/trigger")
    run = await run_of(client, schedule, "running")
    assert run["ended_at"] is None
    await client.post(f"/v1/responses/{run['response_id']}/cancel")
    ended = await run_of(client, schedule, "ended")
    assert ended["response_status"] == "cancelled"
    held.released.set()
    await client.delete(f"{SCHEDULES}/{schedule['id']}")


async def test_a_single_time_that_passes_while_its_schedule_is_paused_ends_it(client: httpx.AsyncClient) -> None:
    schedule = await made(client, request=REQUEST, at=int(time.time()) + 4, paused=True)
    shown = await once_ended(client, schedule["id"])
    assert (shown["run_count"], shown["next_runs"]) == (0, [])
