"""Runs the validation and translation of large requests in a thread, outside the event loop.

Otherwise all streams of a process would pause while a request with thousands of parts is validated. A worker's lease
could expire as well, because the thread that renews it needs the interpreter.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

# Parsing and validating JSON of this size takes one or two milliseconds. For less, a switch of threads has no benefit.
LARGE_BYTES = 32 * 1024
Result = TypeVar("Result")

_lock = threading.Lock()
_pauses = 0
_was_enabled = True


async def off_loop(size: int, work: Callable[..., Result], *arguments: Any) -> Result:
    """Return `work(*arguments)`, computed in a thread if the JSON is large.

    A thread helps if the work calls Python functions, as the validation of items does for each part. A single call into
    C, such as a parser's, holds the interpreter in any thread.

    Args:
        size: The length of the JSON in bytes. Above `LARGE_BYTES`, the work runs in a thread.
        work: The function.
        *arguments: Its arguments.
    """
    if size <= LARGE_BYTES:
        return work(*arguments)
    return await asyncio.to_thread(_paused, work, *arguments)


def _paused(work: Callable[..., Result], *arguments: Any) -> Result:
    with collector_paused():
        return work(*arguments)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector of all threads while many long-lived objects are created.

    The collector scans all objects each time their number has grown by a quarter, and holds the interpreter meanwhile.
    It takes half of the time of validating 160,000 content parts, and causes all long pauses. Several threads may pause
    the collector at the same time.
    """
    global _pauses, _was_enabled
    with _lock:
        if _pauses == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if _pauses == 0 and _was_enabled:
                gc.enable()
