"""The parts of temporalio's worker outside its public interface. No other module uses them.

What this prevents: an upgrade that moves one of them, so that a worker fails under load instead of in a test.
`tests/unit/test_half_public_parts.py` checks each; `pyproject.toml` bounds the version. The API
imports `sdk_client.py` alone, and so none of the SDK's worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import Worker, WorkflowInstance
from temporalio.worker._command_aware_visitor import CommandInfo
from temporalio.workflow import Info
from typing_extensions import override

__all__ = ["DelegatingInstance", "WorkflowActivation", "WorkflowActivationCompletion", "activate_here", "evict_from"]


class DelegatingInstance(WorkflowInstance):
    """The SDK's instance of a workflow run, for subclasses that override `activate`."""

    def __init__(self, inner: WorkflowInstance) -> None:
        self._inner = inner

    @override
    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        return self._inner.activate(act)

    @override
    def get_serialization_context(self, command_info: CommandInfo | None) -> SerializationContext | None:
        return self._inner.get_serialization_context(command_info)

    @override
    def get_external_store_context(self, command_info: CommandInfo | None) -> StorageDriverStoreContext:
        return self._inner.get_external_store_context(command_info)

    @override
    def get_info(self) -> Info:
        return self._inner.get_info()

    @override
    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()


def activate_here(activate: Callable[[WorkflowActivation], Any], activation: WorkflowActivation) -> Any:
    """Activate a run in the thread of a running event loop. Call this from a callback of the loop, and from no task.

    The SDK makes a run's own event loop the running one, and leaves the thread without any. Its debug mode does the
    same as this function.
    """
    loop = asyncio.get_running_loop()
    try:
        return activate(activation)
    finally:
        asyncio._set_running_loop(loop)


def evict_from(worker: Worker) -> Callable[[str], None]:
    """A function that evicts a run, by its id, from this worker's cache. It can be called from any thread.

    Call `evict_from` itself in the worker's event loop. Core has the operation, and the SDK's public interface does
    not.
    """
    loop = asyncio.get_running_loop()
    workflow_worker = worker._workflow_worker
    assert workflow_worker is not None, "a worker of activities alone caches no runs"

    def evict(run_id: str) -> None:
        loop.call_soon_threadsafe(workflow_worker._bridge_worker().request_workflow_eviction, run_id)

    return evict
