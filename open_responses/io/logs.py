"""Logs: one JSON object a line, on stderr, without contents of conversations.

What this prevents: contents of conversations in logs, which more people can read than the conversations. Exceptions
quote contents: a validation error the input, a tool's error its argument, and a traceback with local variables the
whole request. An exception is therefore logged as its types, files and lines; `OPEN_RESPONSES_LOG_MESSAGES=1` adds the
messages.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TypeAlias

import orjson
import structlog

from open_responses.errors import OpenResponsesError
from open_responses.loop.end_line import LOG_FIELDS

_Event: TypeAlias = MutableMapping[str, Any]
_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None]
_MAX_FRAMES = 30
# The messages of this logger quote results and exceptions after their first line.
_ASYNCIO = "asyncio"
# This logger quotes the replies of MCP servers. The errors that it logs reach this server's code as exceptions, too.
_TALKATIVE = "mcp"
# Temporal's SDK logs each activity that fails. These write a line of their own, with the code of the error.
_ACTIVITIES = "temporalio.activity"
_LOGGED_ALREADY = frozenset({"sample"})
_UVICORN = "uvicorn.error"
_SERVERS = ("uvicorn", _UVICORN, "uvicorn.access", "uvicorn.asgi")


def configure_logs(*, messages: bool = False) -> None:
    """Configure the logs of this process: its own (`structlog`), and warnings and errors of libraries (`logging`).

    Args:
        messages: Log the messages of exceptions as well. They may have content of conversations.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _Exceptions(messages=messages),
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_line)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_first_line, _fields, structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_line),
            ],
            keep_exc_info=False,
        )
    )
    logging.root.handlers = [handler]
    logging.root.setLevel(logging.WARNING)
    if not messages:
        logging.getLogger(_TALKATIVE).setLevel(logging.CRITICAL + 1)
    logging.getLogger(_ACTIVITIES).addFilter(_is_not_logged_yet)
    logging.getLogger(_UVICORN).addFilter(_is_no_cut)
    for name in _SERVERS:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True


class _Exceptions:
    """Replaces `exc_info` by the parts of the exception without content."""

    def __init__(self, *, messages: bool) -> None:
        self._messages = messages

    def __call__(self, logger: Any, method: str, event: _Event) -> _Event:
        exc_info = _exc_info(event.pop("exc_info", None))
        if exc_info is not None:
            event["exception"] = self._described(exc_info[1])
        return event

    def _described(self, error: BaseException) -> list[dict[str, Any]]:
        """The exception and its causes, the outermost first."""
        described: list[dict[str, Any]] = []
        seen: set[int] = set()
        cause: BaseException | None = error
        while cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            frames = traceback.extract_tb(cause.__traceback__, limit=-_MAX_FRAMES)
            one: dict[str, Any] = {
                "type": f"{type(cause).__module__}.{type(cause).__qualname__}",
                "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
            }
            if self._messages:
                one["message"] = str(cause)
            described.append(one)
            cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
        return described


def _exc_info(given: Any) -> _ExcInfo | None:
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    if isinstance(given, tuple):
        return given if given[1] is not None else None
    if given:
        current = sys.exc_info()
        return current if current[0] is not None and current[1] is not None else None
    return None


def _fields(logger: Any, method: str, event: _Event) -> _Event:
    """The fields of a line that a workflow writes. The SDK adds the workflow to the message, which has it already."""
    fields: dict[str, Any] | None = getattr(event.get("_record"), LOG_FIELDS, None)
    if fields is not None:
        event.update(fields, event=str(event["event"]).partition(" ")[0])
    return event


def _is_not_logged_yet(record: logging.LogRecord) -> bool:
    failing: Any = getattr(record, "temporal_activity", None) or {}
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    is_ours = error is not None and isinstance(error.__cause__, OpenResponsesError)
    return not (is_ours and record.levelno == logging.WARNING and failing.get("activity_type") in _LOGGED_ALREADY)


def _is_no_cut(record: logging.LogRecord) -> bool:
    """False for a request that uvicorn cancels at the end of its graceful period.

    It logs their number, and each again as an exception: every restart of an API with open streams would look like a
    defect.
    """
    return not (isinstance(record.exc_info, tuple) and isinstance(record.exc_info[1], asyncio.CancelledError))


def _first_line(logger: Any, method: str, event: _Event) -> _Event:
    record: logging.LogRecord | None = event.get("_record")
    if record is not None and record.name == _ASYNCIO:
        event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _line(event: _Event, **_: Any) -> str:
    return orjson.dumps(event, default=repr).decode()
