"""A bound on the memory of the workflow runs that one worker keeps between their tasks.

What this prevents: a worker that dies of memory because a thousand responses of some megabytes each wait for a person
or a long tool. The SDK bounds cached runs by their number alone (`max_cached_workflows`), and does not weigh them.

The weight of a run is what its activations brought: the start's input, results of activities, signals. Beyond the
bound, the runs that were idle for longest leave the cache; their next task builds them again from history.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from temporalio.worker import WorkerDeploymentConfig, WorkflowInstance, WorkflowInstanceDetails

from open_responses.io.temporal.sdk_internals import (
    DelegatingInstance,
    WorkflowActivation,
    WorkflowActivationCompletion,
)
from open_responses.io.temporal.worker_versions import Runner

log = structlog.get_logger(__name__)

# Python's, beside the text: of an object or an array of JSON, and of each value in it. 160,000 times
# `{"type":"input_text","text":""}`, 5.2 MB, take 70 MB; 61 MB of text take 57.
_CONTAINER_BYTES = 400
_VALUE_BYTES = 40
# A run without content: the SDK's instance, our state, and Core's. An estimate from above.
_RUN_BYTES = 100_000


def memory_of(payloads: bytes) -> int:
    """About how much memory this takes as objects, in bytes."""
    containers = payloads.count(b"{") + payloads.count(b"[")
    return len(payloads) + _CONTAINER_BYTES * containers + _VALUE_BYTES * payloads.count(b",")


@dataclass(slots=True)
class _Run:
    weight: int = _RUN_BYTES
    is_active: bool = False
    is_leaving: bool = False


class CachedRuns:
    """Which runs are cached, how heavy each is, and which have to go. Activations of different runs come from different
    threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()
        self._evict: Callable[[str], None] = _evict_nothing

    def evict_by(self, evict: Callable[[str], None]) -> None:
        """`evict` takes a run's id, from any thread, and does not wait."""
        self._evict = evict

    @property
    def weight(self) -> int:
        """Of the runs that stay, by an estimate, in bytes."""
        with self._lock:
            return self._weight

    def begin(self, run_id: str, activation: WorkflowActivation) -> None:
        """A task of this run begins, with what it brings."""
        added = memory_of(activation.SerializeToString())
        with self._lock:
            run = self._runs.get(run_id)
            if run is None:
                run = self._runs[run_id] = _Run()
                self._weight += run.weight
            run.is_active = True
            run.weight += added
            if not run.is_leaving:
                self._weight += added
            self._runs.move_to_end(run_id)
            leaving = self._to_leave()
        for other in leaving:
            log.info("run_left_cache", run_id=other)
            self._evict(other)

    def end(self, run_id: str) -> None:
        """The task has ended."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None:
                run.is_active = False

    def forget(self, run_id: str) -> None:
        """The run is not cached any more."""
        with self._lock:
            run = self._runs.pop(run_id, None)
            if run is not None and not run.is_leaving:
                self._weight -= run.weight

    def _to_leave(self) -> list[str]:
        """The longest idle, until the rest is within the bound. What is at work stays."""
        found: list[str] = []
        for run_id, run in self._runs.items():
            if self._weight <= self._most:
                break
            if not run.is_active and not run.is_leaving:
                run.is_leaving = True
                self._weight -= run.weight
                found.append(run_id)
        return found


def _evict_nothing(run_id: str) -> None:
    """Until the worker is there."""


class WeighingRunner(Runner):
    """Runs workflows, and weighs each run as it goes."""

    def __init__(self, deployment: WorkerDeploymentConfig, runs: CachedRuns) -> None:
        super().__init__(deployment)
        self._runs = runs

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Weighed(super().create_instance(det), det.info.run_id, self._runs)


class _Weighed(DelegatingInstance):
    """The SDK's instance, whose activations are weighed."""

    def __init__(self, inner: WorkflowInstance, run_id: str, runs: CachedRuns) -> None:
        super().__init__(inner)
        self._run_id = run_id
        self._runs = runs

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if any(job.HasField("remove_from_cache") for job in act.jobs):
            self._runs.forget(self._run_id)
            return super().activate(act)
        self._runs.begin(self._run_id, act)
        try:
            return super().activate(act)
        finally:
            self._runs.end(self._run_id)
