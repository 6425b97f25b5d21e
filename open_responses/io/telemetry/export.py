"""Sends spans to an OpenTelemetry collector, by OTLP over HTTP. Off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set.

What this prevents: a request that waits for a collector. One thread imports OpenTelemetry's SDK, which takes as long as
a tenth of a worker's start, and another sends its batches. The queue is bounded, and spans that do not fit are dropped.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from open_responses import __version__
from open_responses.io.telemetry.spans import Sink, Span, record_to
from open_responses.io.telemetry.trace_context import TraceContext

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.trace import SpanContext

log = structlog.get_logger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
# Until the SDK is imported; the SDK's own queue has the same length by default (OTEL_BSP_MAX_QUEUE_SIZE).
_MAX_PENDING = 2048
_FLUSH_SECONDS = 2.0


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether this environment names a collector for traces, in OpenTelemetry's own variables."""
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not is_off and any(environ.get(name) for name in _ENDPOINTS)


def export_spans(environ: Mapping[str, str], *, service: str, instance: str | None = None) -> SpanExport | None:
    """Record the spans of this process from now on, and send them. Returns None where no collector is configured."""
    if not is_wanted(environ):
        return None
    named = {} if environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
    if instance is not None:
        named["service.instance.id"] = instance
    export = SpanExport({**named, "service.version": __version__})
    record_to(export)
    return export


class SpanExport(Sink):
    """Receives the spans of this process, and sends them in batches. No method waits for the network."""

    def __init__(self, resource: Mapping[str, str]) -> None:
        self._resource = resource
        self._pending: deque[Span] | None = deque(maxlen=_MAX_PENDING)
        self._sdk: _Sdk | None = None
        self._lock = threading.Lock()
        threading.Thread(target=self._load, name="opentelemetry", daemon=True).start()

    def samples(self, trace_id: str) -> bool:
        """Whether a trace that begins here is recorded. Until the SDK is imported, all are."""
        return self._sdk is None or self._sdk.samples(trace_id)

    def add(self, span: Span) -> None:
        """Queue a span that has ended."""
        with self._lock:
            if self._pending is not None:
                self._pending.append(span)
                return
        if self._sdk is not None:
            self._sdk.add(span)

    def close(self) -> None:
        """Send the remaining spans, for a moment at most.

        A collector that does not answer must not delay the end of the process.
        """
        record_to(None)
        closing = threading.Thread(target=self._flush, name="opentelemetry-flush", daemon=True)
        closing.start()
        closing.join(_FLUSH_SECONDS)

    def _flush(self) -> None:
        if self._sdk is not None:
            self._sdk.flush()

    def _load(self) -> None:
        try:
            sdk = _Sdk(self._resource)
        except Exception as error:
            log.error("traces_not_exported", exc_info=error)
            record_to(None)
            return
        # Under the lock, so that no span is added after the last batch was sent.
        with self._lock:
            pending, self._pending, self._sdk = self._pending or (), None, sdk
        for span in pending:
            sdk.add(span)


class _Sdk:
    """OpenTelemetry's sampler, batches and exporter, each configured by its own `OTEL_` variables."""

    def __init__(self, resource: Mapping[str, str]) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # Its loggers repeat a failure with each batch, and quote the collector's answer.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
        self._resource: Resource = Resource.create(dict(resource))
        self._provider: TracerProvider = TracerProvider(resource=self._resource, shutdown_on_exit=False)
        self._processor: BatchSpanProcessor = BatchSpanProcessor(_announcing(OTLPSpanExporter()))

    def samples(self, trace_id: str) -> bool:
        """Whether a trace that begins here is recorded. Until the SDK is imported, all are."""
        from opentelemetry.sdk.trace.sampling import Decision

        return self._provider.sampler.should_sample(None, int(trace_id, 16), "").decision is Decision.RECORD_AND_SAMPLE

    def add(self, span: Span) -> None:
        """Queue a span that has ended."""
        self._processor.on_end(_readable(span, self._resource))

    def flush(self) -> None:
        self._processor.force_flush(int(_FLUSH_SECONDS * 1000))


def _announcing(exporter: SpanExporter) -> SpanExporter:
    """Logs when the collector is lost, and when it is back: once each."""
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Announcing(SpanExporter):
        is_lost = False

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            try:
                result = exporter.export(spans)
            except Exception as error:
                log.debug("export_failed", exc_info=error)
                result = SpanExportResult.FAILURE
            is_lost = result is not SpanExportResult.SUCCESS
            if is_lost != self.is_lost:
                self.is_lost = is_lost
                (log.warning if is_lost else log.info)("collector_away" if is_lost else "collector_back")
            return result

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return Announcing()


def _readable(span: Span, resource: Resource) -> ReadableSpan:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import SpanKind, Status, StatusCode

    attributes = span.attributes if span.error_type is None else {**span.attributes, "error.type": span.error_type}
    return ReadableSpan(
        span.name,
        context=_span_context(span.context),
        parent=None if span.parent is None else _span_context(span.parent, is_remote=True),
        resource=resource,
        attributes=attributes,
        kind={"internal": SpanKind.INTERNAL, "server": SpanKind.SERVER, "client": SpanKind.CLIENT}[span.kind],
        instrumentation_scope=InstrumentationScope("open_responses", __version__),
        status=Status(StatusCode.UNSET if span.error_type is None else StatusCode.ERROR),
        start_time=span.started_at,
        end_time=span.ended_at,
    )


def _span_context(context: TraceContext, *, is_remote: bool = False) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(
        int(context.trace_id, 16), int(context.span_id, 16), is_remote, TraceFlags(int(context.is_sampled))
    )
