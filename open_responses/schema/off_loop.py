"""Work on what a client sent, kept off the event loop where it is large.

What this prevents: all streams of a process that stand still while one request's thousands of parts are validated; and
a worker whose lease expires meanwhile, because the thread that renews it needs the interpreter too.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

# JSON of this size is parsed and validated in a millisecond or two, which a switch of threads does not improve.
LARGE_BYTES = 32 * 1024
Result = TypeVar("Result")

_lock = threading.Lock()
_pauses = 0
_was_enabled = True


async def off_loop(size: int, work: Callable[..., Result], *arguments: Any) -> Result:
    """`work(*arguments)`, in a thread where it is on more than `LARGE_BYTES` bytes of JSON.

    A thread helps where the work calls Python, as the validation of items does for each part; one call into C, as a
    parser's, holds the interpreter in any thread.
    """
    if size <= LARGE_BYTES:
        return work(*arguments)
    return await asyncio.to_thread(_paused, work, *arguments)


def _paused(work: Callable[..., Result], *arguments: Any) -> Result:
    with collector_paused():
        return work(*arguments)


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection in any thread meanwhile: for the making of many objects that stay.

    The collector looks through all objects at each quarter more of them, with the interpreter held: half of the time
    that the validation of 160,000 content parts takes, and all of its long stops. Several threads may pause it.
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
