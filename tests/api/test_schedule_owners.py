"""Whose schedules are whose, and what becomes of them with their key."""

from __future__ import annotations

import httpx
import pytest

from open_responses.ids import new_id
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.responses_http import is_error
from tests.support.schedules import REQUEST, SCHEDULES, made, run_of
from tests.support.stack import until

pytestmark = pytest.mark.campaign

ADMIN = bearer("schedules-operator")

api = api_of_the_module(
    key_block("house", "schedules-operator", 'scopes = ["admin"]'),
    key_block("schedules-a", "schedules-a-key"),
    key_block("schedules-b", "schedules-b-key", 'models = ["fake"]'),
    key_block("schedules-a", "schedules-a-narrow", 'models = ["smollm2"]'),
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
