"""Whose schedules are whose, and what becomes of them with their key."""

from __future__ import annotations

import httpx
import pytest
from temporalio.client import ScheduleOverlapPolicy

from open_responses.ids import new_id
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.fake_upstream import Script, Upstream
from tests.support.operator import console
from tests.support.responses_http import is_error
from tests.support.schedules import REQUEST, SCHEDULES, made, run_of
from tests.support.stack import Stack, until

pytestmark = pytest.mark.campaign

ADMIN = bearer("schedules-operator")

api = api_of_the_module(
    key_block("house", "schedules-operator", 'scopes = ["admin"]'),
    key_block("schedules-a", "schedules-a-key"),
    key_block("schedules-b", "schedules-b-key", 'models = ["fake"]'),
    key_block("schedules-a", "schedules-a-narrow", 'models = ["smollm2"]'),
    key_block("schedules-d", "schedules-d-key", "budget_tokens = 30"),
    "[schedules]",
    "max_per_tenant = 4",
)


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


async def test_a_budget_that_was_used_up_since_refuses_the_run_at_once_and_says_so(api: httpx.AsyncClient) -> None:
    owner = bearer("schedules-d-key")
    schedule = await made(api, owner, cron="@daily")

    async def is_used_up() -> bool:
        return (await api.post("/v1/responses", json=REQUEST, headers=owner)).status_code == 429

    await until(is_used_up)
    assert (await api.post(f"{SCHEDULES}/{schedule['id']}/trigger", headers=owner)).status_code == 202
    # Not after the hour in which a limit of a minute would have passed.
    run = await run_of(api, schedule, "refused", **owner)
    assert (run["error_code"], run["response_id"]) == ("token_budget_exceeded", None)
    assert "budget" in run["error_message"]
    now = (await api.get(f"{SCHEDULES}/{schedule['id']}", headers=owner)).json()
    assert now["status"] == "active", "the next period has a budget of its own"
    await api.delete(f"{SCHEDULES}/{schedule['id']}", headers=owner)


async def test_a_schedule_of_another_tenant_is_an_unknown_one(api: httpx.AsyncClient) -> None:
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


async def test_scopes_hold_for_a_scheduled_request(api: httpx.AsyncClient) -> None:
    body = {"cron": "@daily", "request": {"model": "smollm2", "input": "x"}}
    answer = await api.post(SCHEDULES, json=body, headers=bearer("schedules-b-key"))
    is_error(answer, 403, "permission_denied", "request.model")


async def test_a_key_starts_no_run_for_which_its_scopes_do_not_suffice(api: httpx.AsyncClient) -> None:
    owner, narrow = bearer("schedules-a-key"), bearer("schedules-a-narrow")
    schedule = await made(api, owner, cron="@daily", paused=True)
    url = f"{SCHEDULES}/{schedule['id']}"
    for path, body in (("/trigger", None), ("/resume", None), ("", {"cron": "@hourly"})):
        answer = await api.post(f"{url}{path}", json=body, headers=narrow)
        is_error(answer, 403, "permission_denied", "request.model")
    assert (await api.get(url, headers=narrow)).json()["status"] == "paused"
    assert (await api.post(f"{url}/pause", headers=narrow)).status_code == 200
    assert (await api.delete(url, headers=narrow)).status_code == 200


async def test_a_time_at_which_the_response_before_goes_on_skips_the_run_or_cancels_that_response(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    held = upstream.says("scheduled and slow", Script(words=5, hold_after=2))
    schedule = await made(client, cron="@yearly", request={**REQUEST, "input": "scheduled and slow"})
    path = f"{SCHEDULES}/{schedule['id']}"
    by_hand = (await console(stack)).get_schedule_handle(schedule["id"])
    # As the schedule's own times do. Of a run beside others, which `/trigger` starts, Temporal takes no notice.
    await by_hand.trigger(overlap=ScheduleOverlapPolicy.SKIP)
    run = await run_of(client, schedule, "running")
    await by_hand.trigger(overlap=ScheduleOverlapPolicy.SKIP)

    async def is_skipped() -> bool:
        return bool((await client.get(path)).json()["skipped_count"])

    await until(is_skipped)
    assert len((await client.get(f"{path}/runs")).json()["data"]) == 1
    await by_hand.trigger(overlap=ScheduleOverlapPolicy.CANCEL_OTHER)
    replaced = await run_of(client, schedule, "cancelled")
    assert replaced["id"] == run["id"]

    async def is_cancelled() -> bool:
        return bool((await client.get(f"/v1/responses/{run['response_id']}")).json()["status"] == "cancelled")

    await until(is_cancelled)
    held.released.set()
    assert (await run_of(client, schedule, "ended"))["response_status"] == "completed"
    await client.delete(path)
