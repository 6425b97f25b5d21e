"""Lines of the SDK's loggers: the fields that a workflow gives its line, and failures that have a line already."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog
from temporalio.exceptions import ApplicationError

from open_responses.errors import ProviderRateLimited
from open_responses.io.logs import configure_logs
from open_responses.loop.end_line import END, LOG_FIELDS


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What a server writes on stderr. Afterwards logs are configured as they were."""
    root, loggers = logging.root, [logging.getLogger(name) for name in ("temporalio.activity", "mcp")]
    handlers, level, before = root.handlers, root.level, [(one.filters[:], one.level) for one in loggers]
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    configure_logs()
    yield written
    root.handlers = handlers
    root.setLevel(level)
    for one, (filters, its_level) in zip(loggers, before, strict=True):
        one.filters = filters
        one.setLevel(its_level)
    structlog.reset_defaults()


def test_a_workflows_line_has_its_fields(stream: io.StringIO) -> None:
    fields = {"response_id": "resp_1", "status": "completed", "without_redis": True}
    logging.getLogger("temporalio.workflow").warning(f"{END} ({{'attempt': 1}})", extra={LOG_FIELDS: fields})
    line = json.loads(stream.getvalue())
    assert {name: line[name] for name in ("event", "level", *fields)} == {"event": END, "level": "warning", **fields}


@pytest.mark.parametrize(
    ("activity", "cause", "is_logged"),
    [
        ("sample", ProviderRateLimited("slow down"), False),
        ("sample", RuntimeError("a defect"), True),
        ("get_weather", ProviderRateLimited("slow down"), True),
    ],
)
def test_only_an_attempt_that_has_a_line_of_its_own_is_left_out(
    stream: io.StringIO, activity: str, cause: Exception, is_logged: bool
) -> None:
    logger = logging.getLogger("temporalio.activity")
    try:
        raise ApplicationError("failed") from cause
    except ApplicationError:
        logger.warning(
            "Completing activity as failed", exc_info=True, extra={"temporal_activity": {"activity_type": activity}}
        )
    assert bool(stream.getvalue()) == is_logged
