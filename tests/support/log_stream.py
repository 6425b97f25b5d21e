"""What a server writes on stderr, in the test's own process."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import structlog

from open_responses.io.logs import configure_logs

_CONFIGURED = ("temporalio.activity", "mcp", "uvicorn.error")


@contextmanager
def captured_logs(*, messages: bool = False) -> Iterator[io.StringIO]:
    """The logs of a server that is configured in this way. Afterwards logs are configured as they were."""
    root, loggers = logging.root, [logging.getLogger(name) for name in _CONFIGURED]
    handlers, level, before = root.handlers, root.level, [(one.filters[:], one.level) for one in loggers]
    with patch.object(sys, "stderr", io.StringIO()) as written:
        try:
            configure_logs(messages=messages)
            yield written
        finally:
            root.handlers = handlers
            root.setLevel(level)
            for one, (filters, its_level) in zip(loggers, before, strict=True):
                one.filters = filters
                one.setLevel(its_level)
            structlog.reset_defaults()
