"""A schedule whose time comes while things fail: it starts one response, and no second one."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Any

from tests.campaigns.answers import Answer, Misfit, Verdict, check_text
from tests.campaigns.connection import Connection
from tests.campaigns.sessions import Sessions

_SCHEDULES = "/v1/schedules"
_LOOK_SECONDS = 0.5


async def schedule(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("schedule")
    in_seconds = sessions.draw.randrange(2, 6)

    async def asking() -> None:
        answer.waits_for = "its schedule"
        made = await _made(connection, answer, in_seconds)
        answer.check = partial(check_time, answer, made["at"])
        answer.waits_for = f"a response of {made['id']}"
        runs = await _runs(connection, made["id"], "running", "ended")
        answer.id = runs[0]["response_id"]
        answer.start_clock()
        answer.waits_for = ""
        await connection.stream(answer)
        for found in await _of_this_name(connection, answer):
            answer.waits_for = f"the end of the run of {found}"
            if len(runs := await _runs(connection, found, "ended")) > 1:
                raise Misfit(Verdict.DOUBLED, f"a schedule with one time has {len(runs)} runs")
            assert answer.response is not None
            if runs[0]["response_id"] == answer.id and runs[0]["response_status"] != answer.response["status"]:
                raise Misfit(Verdict.WRONG, f"its run says that it is {runs[0]['response_status']}")
            await connection.fetch(
                "DELETE", f"{_SCHEDULES}/{found}", accepts=lambda answer: answer.status_code in (200, 404)
            )

    await sessions.settled(connection, [answer], asking())


async def _made(connection: Connection, answer: Answer, in_seconds: int) -> dict[str, Any]:
    """A schedule has no idempotency key: a request whose answer was lost may have made one as well."""
    while True:
        body = {
            "name": answer.tag,
            "at": int(time.time()) + in_seconds,
            "request": {"model": "fake", "input": answer.prompt},
        }
        response = await connection.once("POST", _SCHEDULES, json=body)
        if response is not None:
            made: dict[str, Any] = response.json()
            return made


async def _of_this_name(connection: Connection, answer: Answer) -> list[str]:
    listed = await connection.request("GET", _SCHEDULES, params={"limit": "100"})
    return [found["id"] for found in listed["data"] if found["name"] == answer.tag]


async def _runs(connection: Connection, schedule_id: str, *statuses: str) -> list[dict[str, Any]]:
    """The schedule's runs, once there is one and all are at one of these points."""
    while True:
        listed = await connection.request("GET", f"{_SCHEDULES}/{schedule_id}/runs")
        runs: list[dict[str, Any]] = listed["data"]
        if refused := [run for run in runs if run["status"] in ("refused", "cancelled")]:
            raise Misfit(Verdict.LOST, f"a run was {refused[0]['status']}: {refused[0]['error_message']}")
        if runs and all(run["status"] in statuses for run in runs):
            return runs
        await asyncio.sleep(_LOOK_SECONDS)


def check_time(answer: Answer, at: int, response: dict[str, Any]) -> None:
    check_text(answer, response)
    if response["created_at"] < at:
        raise Misfit(Verdict.WRONG, f"a run at {at} has started at {response['created_at']}")
