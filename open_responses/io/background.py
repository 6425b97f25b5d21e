"""Background tasks: an error is logged, and a task that has to keep running is started again.

What this prevents: a process that looks healthy after the task that reads its subscription has died of an error that no
author has thought of. asyncio reports such an error when the task is collected, which may be never.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import structlog

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 1.0

Result = TypeVar("Result")


async def kept_running(name: str, run: Callable[[], Awaitable[None]], *, again_seconds: float = _AGAIN_SECONDS) -> None:
    """`run` until cancelled: after an error, or an end, it is called again. For tasks without a state of their own."""
    while True:
        try:
            await run()
            log.error("background_task_ended", task=name)
        except Exception:  # a border: there is no caller that could handle it
            log.exception("background_task_died", task=name)
        await asyncio.sleep(again_seconds)


def in_background(name: str, coroutine: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
    """A task whose error is logged. Its caller keeps a reference: asyncio's own is weak."""
    task = asyncio.create_task(coroutine, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error is not None:
        log.error("background_task_died", task=task.get_name(), exc_info=error)
