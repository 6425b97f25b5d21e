"""Schedules that a test makes, and their runs."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.stack import until

SCHEDULES = "/v1/schedules"
REQUEST = {"model": "fake", "input": "hello"}


async def made(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    answer = await client.post(SCHEDULES, json={"request": REQUEST, **body}, headers=headers)
    assert answer.status_code == 200, answer.text
    schedule: dict[str, Any] = answer.json()
    return schedule


async def once_ended(client: httpx.AsyncClient, schedule_id: str) -> dict[str, Any]:
    """The schedule as it is shown when no run of it comes any more."""
    shown: dict[str, Any] = {}

    async def has_ended() -> bool:
        answer = await client.get(f"{SCHEDULES}/{schedule_id}")
        assert answer.status_code == 200, answer.text
        shown.update(answer.json())
        return bool(shown["status"] == "ended")

    await until(has_ended)
    return shown


async def run_of(client: httpx.AsyncClient, schedule: dict[str, Any], *statuses: str, **headers: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    async def has_it() -> bool:
        answer = await client.get(f"{SCHEDULES}/{schedule['id']}/runs", headers=headers)
        assert answer.status_code == 200, answer.text
        found[:] = [run for run in answer.json()["data"] if run["status"] in statuses]
        return bool(found)

    await until(has_it, 60)
    return found[0]
