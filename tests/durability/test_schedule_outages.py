"""Times that come while Temporal is away are made up for, if they are no older than a window."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from api.schedules import temporal_schedules
from api.schedules.temporal_schedules import schedule_of
from open_responses.ids import new_id
from open_responses.schedules.payloads import ScheduleState
from tests.support.fake_upstream import Script, Upstream
from tests.support.operator import console
from tests.support.schedules import REQUEST, SCHEDULES, made, once_ended, run_of
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import until


def test_a_cron_expression_has_an_hour_and_a_single_time_a_day() -> None:
    state = ScheduleState(id=new_id("sched_"), tenant="t", sealed="", created_at=1, updated_at=1, cron="@daily")
    assert schedule_of(state, paused=False).policy.catchup_window == timedelta(hours=1)
    once = state.model_copy(update={"cron": None, "at": 2_000_000_000})
    assert schedule_of(once, paused=False).policy.catchup_window == timedelta(days=1)


@pytest.mark.campaign
async def test_a_time_within_the_window_is_made_up_for_and_one_behind_it_is_missed(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Temporal's shortest window.
    monkeypatch.setattr(temporal_schedules, "_CATCH_UP_ONCE", timedelta(seconds=10))
    script = upstream.says("made up for", Script(words=1))
    async with small_stack(tmp_path, upstream) as stack, client_of(stack) as client:
        at = int(time.time()) + 10
        late = await made(client, at=at, request={**REQUEST, "input": "made up for"})
        missed = ScheduleState(
            id=new_id("sched_"), tenant="default", sealed="sealed:x", created_at=at, updated_at=at, at=at
        )
        await temporal_schedules.create(await console(stack), missed, paused=False)
        # Else Temporal looks at its times from when it is back, and has missed none.
        assert (await client.get(f"{SCHEDULES}/{missed.id}")).json()["next_runs"] == [at]
        await stack.kill("temporal")

        async def is_behind_the_window() -> bool:
            return time.time() > at + 13

        await until(is_behind_the_window)
        await stack.heal()
        run = await run_of(client, late, "ended")
        assert (run["response_status"], script.attempts) == ("completed", 1)
        shown = (await client.get(f"{SCHEDULES}/{late['id']}")).json()
        assert (shown["status"], shown["run_count"], shown["missed_count"]) == ("ended", 1, 0)

        # Each schedule is a workflow of its own, which wakes up when Temporal comes to it.
        shown = await once_ended(client, missed.id)
        assert (shown["run_count"], shown["missed_count"], shown["next_runs"]) == (0, 1, [])
        assert (await client.get(f"{SCHEDULES}/{missed.id}/runs")).json()["data"] == []
