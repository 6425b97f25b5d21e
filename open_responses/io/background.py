"""Background tasks: an error is logged, and a task that has to keep running is started again.

What this prevents: a process that looks healthy after the task that reads its subscription has ended with an unexpected
error. asyncio reports such an error only when the task is garbage-collected, which may never happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 1.0
_CANCEL_AGAIN_SECONDS = 0.1
_PATIENT_ROUNDS = 50

Result = TypeVar("Result")


async def kept_running(name: str, run: Callable[[], Awaitable[None]], *, again_seconds: float = _AGAIN_SECONDS) -> None:
    """Call `run` until cancelled, again after each error or return. For tasks without a state of their own.

    Args:
        name: The task's name in logs.
        run: The task.
        again_seconds: The pause before the next call.
    """
    while True:
        try:
            await run()
            log.error("background_task_ended", task=name)
        except Exception:  # a border: no caller could handle it
            log.exception("background_task_died", task=name)
        await asyncio.sleep(again_seconds)


def in_background(name: str, coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
    """Start a task whose error is logged. The caller has to keep a reference, since asyncio's is weak."""
    task = asyncio.create_task(coroutine, name=name)
    task.add_done_callback(_report)
    return task


async def end_tasks(tasks: Collection[asyncio.Task[Any]]) -> list[Any]:
    """Cancel the tasks, and again until all have ended. Return the result or the exception of each, in their order.

    A library may drop the one cancellation that arrives as the call which it waits for returns. The task would go on
    for ever, and so would the wait for its end.
    """
    rounds = 0
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_SECONDS)
        rounds += 1
        if rounds == _PATIENT_ROUNDS:
            log.warning("tasks_ignore_cancellation", tasks=[str(task.get_coro()) for task in running])
    return await asyncio.gather(*tasks, return_exceptions=True)


def _report(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        log.error("background_task_died", task=task.get_name(), exc_info=error)
