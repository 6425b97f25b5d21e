"""The search for orphans behind a flush of Redis reads each response once, and none that began since."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.service import RPCError, RPCStatusCode

from activities.worker.dead_worker_detector import DeadWorkerDetector, OrphanSearch
from activities.worker.dead_worker_takeover import WorkerTakeover
from open_responses.io.redis.leases import Running

STARTED = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED


@dataclass
class Temporal:
    """Running responses: their id, and the worker that runs their activity."""

    responses: dict[str, str]
    queries: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)
    is_away: bool = False

    async def list_workflows(self, query: str) -> AsyncIterator[Any]:
        self.queries.append(query)
        for id in list(self.responses):
            yield SimpleNamespace(id=id)

    def get_workflow_handle(self, id: str) -> Any:
        async def describe() -> Any:
            if id in self.erased or self.is_away:
                code = RPCStatusCode.NOT_FOUND if id in self.erased else RPCStatusCode.UNAVAILABLE
                raise RPCError("gone", code, b"")
            self.read.append(id)
            pending = SimpleNamespace(
                activity_id="1",
                activity_type=SimpleNamespace(name="sample"),
                attempt=1,
                state=STARTED,
                last_worker_identity=self.responses[id],
            )
            return SimpleNamespace(id=id, run_id="r", raw_description=SimpleNamespace(pending_activities=[pending]))

        return SimpleNamespace(describe=describe)


class Takeover(WorkerTakeover):
    """Keeps what it would report as lost."""

    def __init__(self, temporal: Temporal) -> None:
        super().__init__(cast(Any, temporal), cast(Any, None))
        self.lost: list[str] = []

    async def _report_lost(self, activity: Running) -> None:
        self.lost.append(activity.workflow_id)


async def is_dead(worker_id: str) -> bool:
    return worker_id == "dead"


async def test_a_response_is_read_once_in_all_rounds_and_one_that_is_erased_meanwhile_ends_no_round() -> None:
    temporal = Temporal({"resp_a": "alive", "resp_gone": "alive", "resp_b": "dead"}, erased={"resp_gone"})
    takeover, search = Takeover(temporal), OrphanSearch(1_800_000_000.5)
    await takeover.find_orphans(is_dead, search)
    assert takeover.lost == ["resp_b"]
    # Temporal's list is late: an older one appears in the next round.
    temporal.responses["resp_late"] = "dead"
    await takeover.find_orphans(is_dead, search)
    assert takeover.lost == ["resp_b", "resp_late"]
    assert temporal.read == ["resp_a", "resp_b", "resp_late"]
    assert temporal.queries[0].endswith("StartTime < '2027-01-15T08:00:00.500000Z'")


async def test_a_round_that_temporal_breaks_off_is_made_up_for_by_the_next() -> None:
    temporal = Temporal({"resp_a": "dead"}, is_away=True)
    takeover, search = Takeover(temporal), OrphanSearch(time.time())
    await takeover.find_orphans(is_dead, search)
    temporal.is_away = False
    await takeover.find_orphans(is_dead, search)
    assert takeover.lost == ["resp_a"]


async def test_a_search_is_for_what_began_before_the_lease_and_begins_anew_with_each_flush(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searches: list[OrphanSearch] = []

    async def find(_: object, search: OrphanSearch) -> None:
        search.read.add("resp_a")
        searches.append(search)

    async def nothing(*_: object) -> list[str]:
        return []

    now = 1000.0
    monkeypatch.setattr("activities.worker.dead_worker_detector.time.monotonic", lambda: now)
    monkeypatch.setattr("activities.worker.dead_worker_detector.time.time", lambda: now + 5000)
    lease = SimpleNamespace(seconds=3.0, begun_at=990.0, worker_id="me")
    redis = SimpleNamespace(register_script=lambda script: script)
    detector = DeadWorkerDetector(cast(Any, redis), cast(Any, lease), nothing, find)
    await detector._look_behind_a_flush()
    assert [one.started_before for one in searches] == [5993.0]
    now = 1100.0
    for _ in range(5):
        await detector._look_behind_a_flush()
    assert len(searches) == 4
    assert len({id(one) for one in searches}) == 1
    assert not searches[0].read, "what was read is kept no longer than the search"
    lease.begun_at = 1090.0
    await detector._look_behind_a_flush()
    assert searches[-1] is not searches[0]
    assert searches[-1].started_before == 6093.0
