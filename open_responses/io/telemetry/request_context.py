"""The ids that connect the log lines of a request, of its response, and of the activities that work for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import structlog

_REQUEST_ID = "request_id"
_TRACE_ID = "trace_id"


def current_request_id() -> str | None:
    """The `X-Request-Id` of the request that this task works for."""
    found: str | None = structlog.contextvars.get_contextvars().get(_REQUEST_ID)
    return found


@contextlib.contextmanager
def in_log_lines(*, request_id: str | None = None, trace_id: str | None = None) -> Iterator[None]:
    """Add those ids that are known to the log lines of this task."""
    ids = {_REQUEST_ID: request_id, _TRACE_ID: trace_id}
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value is not None}):
        yield
