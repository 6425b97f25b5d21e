"""Runs a worker's short workflow tasks in the thread of its event loop, and the long ones in threads of their own.

What this prevents: two switches between threads for each step of a response. The thread that the SDK hands a step to,
and the event loop, wait for the interpreter in turn, for up to five milliseconds each time, while the step itself takes
less than one. Under load a quarter of a worker's time went into that.

A step is long if its run has received much so far: it may convert all of that again. The SDK watches a thread for a
deadlock, and cannot watch the event loop's, so a step that is short has to be so by its size.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from typing_extensions import override

from open_responses.io.temporal.cached_runs import CachedRuns
from open_responses.io.temporal.sdk_worker import WorkflowActivation, activate_here

_SHORT_BYTES = 32 * 1024


class ShortTasksInline(ThreadPoolExecutor):
    """The executor of a worker's workflow tasks. Create it in the worker's event loop.

    Args:
        runs: How much each run has received.
        threads: For the long tasks.
    """

    def __init__(self, runs: CachedRuns, *, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="workflow")
        self._runs = runs
        self._loop = asyncio.get_running_loop()

    @override
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a task. The SDK passes the activation of a run as its only argument."""
        if len(args) != 1 or not self._is_short(args[0]):
            return super().submit(fn, *args, **kwargs)
        future = Future[Any]()
        # Not here: the caller is a task of the event loop, and a workflow has tasks of its own.
        self._loop.call_soon(_run, future, fn, args[0])
        return future

    def _is_short(self, activation: object) -> bool:
        if not isinstance(activation, WorkflowActivation) or activation.ByteSize() > _SHORT_BYTES:
            return False
        return self._runs.received(activation.run_id) <= _SHORT_BYTES


def _run(future: Future[Any], activate: Callable[..., Any], activation: WorkflowActivation) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        completion = activate_here(activate, activation)
    except BaseException as error:  # noqa: BLE001 - as an executor does
        future.set_exception(error)
    else:
        future.set_result(completion)
