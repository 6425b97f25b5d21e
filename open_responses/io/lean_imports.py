"""Shortens the start of a process: imports without garbage collection, and without optional parts of libraries.

What this prevents: a client that waits for Python. Nearly all of a worker's start is imports, and a tenth of these was
collections that find nothing, since all that is imported lives as long as the process. Another tenth was optional parts
that no process here uses: a formatter of tracebacks for terminals (structlog), a command line (httpx), and metrics by
OpenTelemetry (redis), each with libraries of its own.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

# Each is imported by its library in a `try` that expects it to be missing.
_NOT_USED = ("rich", "httpx._main", "opentelemetry.sdk")


@contextmanager
def lean_imports() -> Iterator[None]:
    """Import within this as if the parts in `_NOT_USED` were not installed, and collect no garbage meanwhile.

    Later imports find them: a tool of the operator's may use any of these, and spans are exported with the last.
    """
    modules = cast(dict[str, object], sys.modules)
    hidden = [name for name in _NOT_USED if name not in modules]
    # Python raises ImportError for a module that is None here.
    modules.update(dict.fromkeys(hidden))
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name in hidden:
            del modules[name]
