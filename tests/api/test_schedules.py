"""Schedules: requests that run at a time or on a cron expression, with the checks and the limits of their key."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from open_responses.ids import new_id
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until
from tests.support.webhook_receiver import WebhookReceiver

SCHEDULES = "/v1/schedules"
ADMIN = bearer("schedules-operator")
REQUEST = {"model": "fake", "input": "hello"}

api = api_of_the_module(
    key_block("house", "schedules-operator", 'scopes = ["admin"]'),
    key_block("schedules-a", "schedules-a-key"),
    key_block("schedules-b", "schedules-b-key", 'models = ["fake"]'),
    "[schedules]",
    "max_per_tenant = 4",
)


async def made(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    answer = await client.post(SCHEDULES, json={"request": REQUEST, **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


async def run_of(client: httpx.AsyncClient, schedule: dict[str, Any], *statuses: str, **headers: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def has_it() -> bool:
        answer = await client.get(f"{SCHEDULES}/{schedule['id']}/runs", headers=headers)
        assert answer.status_code == 200, answer.text
        found[:] = [run for run in answer.json()["data"] if run["status"] in statuses]
        return bool(found)

    await until(has_it, 60)
    return found[0]


async def test_a_request_runs_once_at_its_time_as_any_other_and_its_webhook_fires(
    client: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    secret = "whsec_" + "A" * 44
    request = {**REQUEST, "webhook": {"url": receiver.url("/scheduled"), "secret": secret}, "metadata": {"of": "mine"}}
    schedule = await made(client, request=request, at=int(time.time()) + 2, name="once", metadata={"a": "b"})
    assert (schedule["status"], schedule["cron"], schedule["metadata"]) == ("active", None, {"a": "b"})
    assert schedule["next_runs"] == [schedule["at"]]
    assert schedule["request"]["webhook"] == {"url": receiver.url("/scheduled")}, "without its secret"
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


async def test_a_key_that_was_revoked_stops_its_schedule_and_the_run_says_why(api: httpx.AsyncClient) -> None:
    key = (await api.post("/v1/admin/keys", json={"tenant": "schedules-c"}, headers=ADMIN)).json()
    owner = bearer(key["key"])
    schedule = await made(api, owner, cron="@daily")
    second = (await api.post("/v1/admin/keys", json={"tenant": "schedules-c"}, headers=ADMIN)).json()
    other = bearer(second["key"])
    await api.delete(f"/v1/admin/keys/{key['id']}", headers=ADMIN)
    assert (await api.post(f"{SCHEDULES}/{schedule['id']}/trigger", headers=other)).status_code == 202
    run = await run_of(api, schedule, "refused", **other)
    assert (run["error_code"], run["response_id"]) == ("invalid_api_key", None)
    now = (await api.get(f"{SCHEDULES}/{schedule['id']}", headers=other)).json()
    assert now["status"] == "paused"
    assert "revoked" in now["note"]
    # A request that another key of the tenant sends runs with that key.
    body = {"request": {**REQUEST, "input": "again"}}
    again = (await api.post(f"{SCHEDULES}/{schedule['id']}", json=body, headers=other)).json()
    assert again["api_key_id"] == second["id"]
    await api.delete(f"{SCHEDULES}/{schedule['id']}", headers=other)


async def test_a_schedule_of_another_tenant_is_an_unknown_one_and_a_tenant_has_a_limit(api: httpx.AsyncClient) -> None:
    owner, stranger = bearer("schedules-a-key"), bearer("schedules-b-key")
    mine = [await made(api, owner, cron="@daily", name=f"n{number}") for number in range(4)]

    async def are_listed() -> bool:
        rows = (await api.get(SCHEDULES, headers=owner)).json()["data"]
        return {row["id"] for row in rows} == {one["id"] for one in mine}

    await until(are_listed, 30)
    is_error(
        await api.post(SCHEDULES, json={"request": REQUEST, "cron": "@daily"}, headers=owner), 409, "schedules_full"
    )
    assert (await api.get(SCHEDULES, headers=stranger)).json()["data"] == []
    for method, end in (
        ("GET", ""),
        ("POST", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/trigger"),
        ("GET", "/runs"),
    ):
        answers = [
            await api.request(method, f"{SCHEDULES}/{id}{end}", json={} if not end else None, headers=stranger)
            for id in (mine[0]["id"], new_id("sched_"), "x")
        ]
        for answer in answers:
            is_error(answer, 404, "not_found", "schedule_id")
        assert answers[0].json() == answers[1].json()
    for one in mine:
        await api.delete(f"{SCHEDULES}/{one['id']}", headers=owner)


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
        ({"cron": "@daily", "every": 5}, "unknown_parameter", "every"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused_before_anything_is_kept(
    client: httpx.AsyncClient, body: dict[str, Any], code: str, param: str
) -> None:
    answer = await client.post(SCHEDULES, json={"request": REQUEST, **body})
    is_error(answer, 404 if code == "model_not_found" else 400, code, param)


async def test_scopes_hold_for_a_scheduled_request(api: httpx.AsyncClient) -> None:
    body = {"cron": "@daily", "request": {"model": "smollm2", "input": "x"}}
    answer = await api.post(SCHEDULES, json=body, headers=bearer("schedules-b-key"))
    is_error(answer, 403, "permission_denied", "request.model")


async def test_an_overlap_skips_a_run_or_cancels_the_response_before_it(
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
