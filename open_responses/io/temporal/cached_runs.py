"""A bound on the memory of the workflow runs that a worker caches between their tasks.

What this prevents: a worker that runs out of memory because a thousand responses of some megabytes each wait for a
person or a long tool. The SDK bounds only the number of cached runs (`max_cached_workflows`).

The weight of a run is an estimate from its activations: the start's input, results of activities, signals. Above the
bound, the runs that have been idle for longest are evicted. Their next task rebuilds them from history.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from temporalio.worker import WorkerDeploymentConfig, WorkflowInstance, WorkflowInstanceDetails
from typing_extensions import override

from open_responses.io.temporal.sdk_worker import (
    DelegatingInstance,
    WorkflowActivation,
    WorkflowActivationCompletion,
)
from open_responses.io.temporal.worker_versions import Runner

log = structlog.get_logger(__name__)

# The memory of Python objects beside their text: for an object or an array, and for each value in it. Measured: 160,000
# times `{"type":"input_text","text":""}`, 5.2 MB of JSON, take 70 MB; 61 MB of text take 57 MB.
_CONTAINER_BYTES = 400
_VALUE_BYTES = 40
# A run without content: the SDK's instance, its state here, and that in Core. An upper estimate.
_RUN_BYTES = 100_000


def memory_of(payloads: bytes) -> int:
    """An estimate of the memory of payloads as Python objects, in bytes."""
    containers = payloads.count(b"{") + payloads.count(b"[")
    return len(payloads) + _CONTAINER_BYTES * containers + _VALUE_BYTES * payloads.count(b",")


@dataclass(slots=True)
class _Run:
    weight: int = _RUN_BYTES
    is_active: bool = False
    is_leaving: bool = False


class CachedRuns:
    """The cached runs and their weights; evicts runs above the bound.

    Different threads activate different runs.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._runs: OrderedDict[str, _Run] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()
        self._evict: Callable[[str], None] = _evict_nothing

    def evict_by(self, evict: Callable[[str], None]) -> None:
        """Set the function that evicts a run, by its id. It is called from any thread, and has to return at once."""
        self._evict = evict

    @property
    def weight(self) -> int:
        """The estimated memory of the runs that stay, in bytes."""
        with self._lock:
            return self._weight

    def received(self, run_id: str) -> int:
        """The estimated memory of what a run was given so far, in bytes."""
        with self._lock:
            run = self._runs.get(run_id)
            return 0 if run is None else run.weight - _RUN_BYTES

    def begin(self, run_id: str, activation: WorkflowActivation) -> None:
        """Record the beginning of a task of this run, and the weight of its activation."""
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
        """Record the end of the task."""
        with self._lock:
            run = self._runs.get(run_id)
            if run is not None:
                run.is_active = False

    def forget(self, run_id: str) -> None:
        """Remove a run that has left the cache."""
        with self._lock:
            run = self._runs.pop(run_id, None)
            if run is not None and not run.is_leaving:
                self._weight -= run.weight

    def _to_leave(self) -> list[str]:
        """The runs to evict: the longest idle, until the rest is within the bound. An active run stays."""
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
    """Used until the worker exists."""


class WeighingRunner(Runner):
    """Runs workflows, and weighs the activations of each run."""

    def __init__(self, deployment: WorkerDeploymentConfig, runs: CachedRuns) -> None:
        super().__init__(deployment)
        self._runs = runs

    @override
    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Weighed(super().create_instance(det), det.info.run_id, self._runs)


class _Weighed(DelegatingInstance):
    """The SDK's instance of a run, whose activations are weighed."""

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
