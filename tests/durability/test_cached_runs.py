"""What a worker keeps of waiting runs is bounded by their weight, and not by their number alone."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import pytest
from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.client import Client
from temporalio.worker import Worker

from open_responses.ids import new_id
from open_responses.io.temporal.cached_runs import CachedRuns, WeighingRunner, memory_of
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.io.temporal.sdk_worker import evict_from
from open_responses.io.temporal.worker_versions import deployment_config
from tests.support.stack import Stack, until

RUNS = 12
WAITS = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
INPUT = [{"type": "input_text", "text": f"{i}"} for i in range(4_000)]


@workflow.defn(name="WaitsForAPerson")
class WaitsForAPerson:
    """As a response with a large input whose call waits for approval."""

    def __init__(self) -> None:
        self.answer: str | None = None

    @workflow.run
    async def run(self, given: list[dict[str, Any]]) -> str:
        await workflow.wait_condition(lambda: self.answer is not None)
        return f"{self.answer} {len(given)}"

    @workflow.signal
    def answered(self, answer: str) -> None:
        self.answer = answer


async def test_runs_with_large_states_leave_the_cache_and_come_back(stack: Stack) -> None:
    client = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    queue = new_id("queue_")
    most = 3 * memory_of(orjson.dumps(INPUT)) + 4 * 100_000
    runs = CachedRuns(most)
    deployment = deployment_config(None, "test")
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[WaitsForAPerson],
        workflow_runner=WeighingRunner(deployment, runs),
        deployment_config=deployment,
    )
    runs.evict_by(evict_from(worker))
    async with worker:
        handles = [
            await client.start_workflow(WaitsForAPerson.run, INPUT, id=new_id("wait_"), task_queue=queue)
            for _ in range(RUNS)
        ]

        async def all_wait_and_few_are_kept() -> bool:
            begun = [(await handle.fetch_history()).events for handle in handles]
            are_waiting = all(any(event.event_type == WAITS for event in events) for events in begun)
            return are_waiting and 0 < len(kept(worker)) <= 4

        await until(all_wait_and_few_are_kept, 60)
        assert runs.weight <= most
        for index, handle in enumerate(handles):
            await handle.signal(WaitsForAPerson.answered, f"yes {index}")
        assert [await handle.result() for handle in handles] == [f"yes {i} {len(INPUT)}" for i in range(RUNS)]


def kept(worker: Worker) -> list[str]:
    assert worker._workflow_worker is not None
    return list(worker._workflow_worker._running_workflows)


def activation(data: bytes) -> WorkflowActivation:
    act = WorkflowActivation()
    act.jobs.add().signal_workflow.input.add().data = data
    return act


@pytest.fixture
def evicted() -> list[str]:
    return []


def cache(most: int, evicted: list[str]) -> CachedRuns:
    runs = CachedRuns(most)
    runs.evict_by(evicted.append)
    return runs


def visit(runs: CachedRuns, run_id: str, size: int = 10) -> None:
    runs.begin(run_id, activation(b"x" * size))
    runs.end(run_id)


def test_the_longest_idle_leave_first(evicted: list[str]) -> None:
    runs = cache(4_000_000, evicted)
    for name in ("a", "b", "c"):
        visit(runs, name, 1_000_000)
    visit(runs, "a")
    visit(runs, "d", 1_000_000)
    assert evicted == ["b"]


def test_a_run_at_work_stays_whatever_it_weighs(evicted: list[str]) -> None:
    runs = cache(1_000_000, evicted)
    runs.begin("a", activation(b"x" * 5_000_000))
    visit(runs, "b")
    assert evicted == []
    runs.end("a")
    visit(runs, "b")
    assert evicted == ["a"]


def test_a_run_is_told_once_to_leave_and_weighs_anew_when_it_is_back(evicted: list[str]) -> None:
    runs = cache(1_000_000, evicted)
    visit(runs, "a", 900_000)
    visit(runs, "b", 900_000)
    visit(runs, "b")
    assert evicted == ["a"]
    runs.forget("a")
    visit(runs, "a", 900_000)
    assert evicted == ["a", "b"]


def test_what_left_weighs_nothing(evicted: list[str]) -> None:
    runs = cache(10_000_000, evicted)
    for name in ("a", "b"):
        visit(runs, name, 100_000)
        runs.forget(name)
        runs.forget(name)
    assert runs.weight == 0


def test_runs_are_weighed_from_many_threads(evicted: list[str]) -> None:
    runs = cache(50_000_000, evicted)

    def work(number: int) -> None:
        for index in range(200):
            visit(runs, f"{number}.{index}", 1_000)
            runs.forget(f"{number}.{index}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert runs.weight == 0


def test_many_small_values_weigh_more_than_one_long_text() -> None:
    small, long = b'{"a":1},' * 1000, b"x" * 8000
    assert memory_of(small) > 20 * memory_of(long)
