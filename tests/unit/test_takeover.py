"""A takeover of dead workers: one look at each open response, and at nothing that a living worker runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.api.enums.v1 import PendingActivityState

from activities.worker import dead_worker_takeover
from activities.worker.dead_worker_takeover import WorkerTakeover
from open_responses.io.redis.leases import Running


@dataclass
class Temporal:
    """Open responses, each with the workers of its activities, and the agents that it has called.

    `reports`: what was reported lost, and each response that was read, in order. `comes_back_at`: the response after
    the reading of which the worker `back` renews its lease and runs everything that it is named for.
    """

    workers: dict[str, list[str]]
    agents: dict[str, list[str]] = field(default_factory=dict)
    comes_back_at: str | None = None
    living: set[str] = field(default_factory=set)
    read: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0

    def get_workflow_handle(self, id: str) -> Any:
        async def describe() -> Any:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            await asyncio.sleep(0)
            self.at_once -= 1
            self.read.append(id)
            self.reports.append(f"read {id}")
            if id == self.comes_back_at:
                self.living.add("back")
            pending = [
                SimpleNamespace(
                    activity_id=worker,
                    activity_type=SimpleNamespace(name="sample"),
                    attempt=1,
                    state=PendingActivityState.PENDING_ACTIVITY_STATE_STARTED,
                    last_worker_identity=worker,
                )
                for worker in self.workers.get(id, [])
            ]
            children = [SimpleNamespace(workflow_id=child) for child in self.agents.get(id, [])]
            raw = SimpleNamespace(pending_activities=pending, pending_children=children)
            return SimpleNamespace(id=id, run_id="r", raw_description=raw)

        return SimpleNamespace(describe=describe)

    async def zrange(self, *_: object, **__: object) -> list[tuple[bytes, float]]:
        """The list of open responses in Redis: those that a request began."""
        children = {child for agents in self.agents.values() for child in agents}
        return [(id.encode(), 1.0) for id in self.workers if id not in children]

    async def is_dead(self, worker_id: str) -> bool:
        return worker_id not in self.living


class Takeover(WorkerTakeover):
    """Keeps what it would report as lost."""

    def __init__(self, temporal: Temporal) -> None:
        super().__init__(cast(Any, temporal), cast(Any, temporal))
        self.temporal = temporal

    async def _report_lost(self, activity: Running) -> None:
        self.temporal.reports.append(f"lost {activity.workflow_id} {activity.activity_id}")


@pytest.fixture(autouse=True)
def _without_stickiness(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unstick(*_: object) -> None:
        pass

    monkeypatch.setattr(dead_worker_takeover, "unstick", unstick)


async def test_what_a_worker_begins_after_it_came_back_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stalled for longer than its lease. Its listed turns were begun again, and it gets some of these itself."""
    monkeypatch.setattr(dead_worker_takeover, "_AT_ONCE", 1)
    workers = {"resp_a": ["back"], "resp_b": ["alive"], "resp_c": ["back"], "resp_d": ["dead"], "resp_listed": ["back"]}
    temporal = Temporal(workers, comes_back_at="resp_b")
    listed = Running("resp_listed", "r", "earlier")
    unlisted = await Takeover(temporal).take_over({"back": [listed], "dead": []}, temporal.is_dead)
    lost = [report for report in temporal.reports if report.startswith("lost")]
    assert lost == ["lost resp_listed earlier", "lost resp_a back", "lost resp_d dead"]
    assert unlisted == {"back": ["resp_a"], "dead": ["resp_d"]}


async def test_the_search_ends_where_every_worker_has_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_worker_takeover, "_AT_ONCE", 1)
    temporal = Temporal({f"resp_{n}": ["back"] for n in range(10)}, comes_back_at="resp_3")
    unlisted = await Takeover(temporal).take_over({"back": []}, temporal.is_dead)
    assert unlisted == {"back": ["resp_0", "resp_1", "resp_2"]}
    assert len(temporal.read) == 4


async def test_what_the_workers_of_a_node_had_listed_waits_for_no_search_and_there_is_one_search_for_all() -> None:
    dead = {f"dead_{n}": [Running(f"resp_{n}", "r", "listed")] for n in range(5)}
    workers = {f"resp_{n}": [f"dead_{n % 5}"] for n in range(100)}
    agents = {"resp_7": ["agent"], "agent": ["its_agent"]}
    temporal = Temporal({**workers, "agent": ["dead_0"], "its_agent": ["dead_1"]}, agents)
    unlisted = await Takeover(temporal).take_over(dead, temporal.is_dead)
    assert sorted(temporal.reports[:5]) == [f"lost resp_{n} listed" for n in range(5)]
    assert sorted(temporal.read) == sorted(temporal.workers), "each response once"
    assert 1 < temporal.most_at_once <= 16
    assert {worker: len(found) for worker, found in unlisted.items()} == {
        "dead_0": 21,
        "dead_1": 21,
        "dead_2": 20,
        "dead_3": 20,
        "dead_4": 20,
    }
