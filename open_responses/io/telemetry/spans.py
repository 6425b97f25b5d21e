"""Spans of this process, and the trace context that follows from them.

Without an exporter no span is recorded, and the trace context of a request is passed on unchanged, so that the callers
of this server and the servers that it calls stay in one trace. A span that ends is kept in memory, and a thread of the
exporter sends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from open_responses.errors import OpenResponsesError
from open_responses.io.telemetry.trace_context import TraceContext

SpanKind: TypeAlias = Literal["internal", "server", "client"]
AttributeValue: TypeAlias = str | bool | int | float | list[str]


@dataclass(slots=True)
class Span:
    """One operation. Times are in Unix nanoseconds; `error_type` is set if it failed, and is never a message."""

    name: str
    kind: SpanKind
    context: TraceContext
    parent: TraceContext | None
    started_at: int
    ended_at: int = 0
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    error_type: str | None = None

    def set(self, attributes: Mapping[str, AttributeValue | None]) -> None:
        """Add those attributes that have a value."""
        self.attributes.update({name: value for name, value in attributes.items() if value is not None})


class Sink(Protocol):
    """Takes spans that have ended. It must neither wait nor raise."""

    def samples(self, trace_id: str) -> bool:
        """Whether a trace that begins here is recorded."""
        ...

    def add(self, span: Span) -> None:
        """Take a span."""


_current: ContextVar[TraceContext | None] = ContextVar("trace_context", default=None)
_sink: Sink | None = None


def record_to(sink: Sink | None) -> None:
    """Record the spans of this process; None ends that."""
    global _sink
    _sink = sink


def is_recording() -> bool:
    """Whether spans are recorded."""
    return _sink is not None


def current_traceparent() -> str | None:
    """The `traceparent` for what this task calls. None outside of a trace."""
    context = _current.get()
    return None if context is None else context.header


@contextlib.contextmanager
def inside(parent: TraceContext | None) -> Iterator[None]:
    """Make this the parent of the spans, and of the calls, that follow in this task."""
    token = _current.set(parent)
    try:
        yield
    finally:
        _current.reset(token)


@contextlib.contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = "internal",
    attributes: Mapping[str, AttributeValue | None] | None = None,
) -> Iterator[Span]:
    """Record the work inside as a child of the current span. An exception marks the span as failed."""
    parent, sink = _current.get(), _sink
    if sink is None:
        # The span is not recorded, and is no parent of other spans.
        yield Span(name, kind, parent or _NOWHERE, parent, 0)
        return
    made = Span(name, kind, _child(parent, sink), parent, time.time_ns())
    made.set(attributes or {})
    token = _current.set(made.context)
    try:
        yield made
    except BaseException as error:
        made.error_type = made.error_type or error_type_of(error)
        raise
    finally:
        # A generator that another task closes runs in that task's context, where there is nothing to restore.
        with contextlib.suppress(ValueError):
            _current.reset(token)
        made.ended_at = time.time_ns()
        record(made)


def record(ended: Span) -> None:
    """Pass a span that has ended to the exporter."""
    if _sink is not None and ended.context.is_sampled:
        _sink.add(ended)


def error_type_of(error: BaseException) -> str:
    """The code of one of this server's errors, or the type of another. A message may have content of a conversation."""
    if isinstance(error, OpenResponsesError):
        return error.error_code
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "cancelled"
    code = getattr(error, "type", None)
    return code if isinstance(code, str) and code else type(error).__name__


def _child(parent: TraceContext | None, sink: Sink) -> TraceContext:
    if parent is not None:
        return TraceContext(parent.trace_id, secrets.token_hex(8), parent.is_sampled)
    trace_id = secrets.token_hex(16)
    return TraceContext(trace_id, secrets.token_hex(8), sink.samples(trace_id))


_NOWHERE = TraceContext("0" * 32, "0" * 16, is_sampled=False)
