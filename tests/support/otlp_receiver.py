"""A collector: takes OTLP over HTTP in a thread of its own, and keeps the spans."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Received:
    """One span, with its ids in hexadecimal digits."""

    def __init__(self, span: Any, resource: dict[str, Any]) -> None:
        self.name: str = span.name
        self.trace_id: str = span.trace_id.hex()
        self.span_id: str = span.span_id.hex()
        self.parent_id: str = span.parent_span_id.hex()
        self.kind: int = span.kind
        self.has_failed: bool = span.status.code == 2
        self.message: str = span.status.message
        self.seconds: float = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
        self.attributes = {attribute.key: _value(attribute.value) for attribute in span.attributes}
        self.resource = resource

    def __repr__(self) -> str:
        return f"{self.name} {self.attributes}"


class OtlpReceiver:
    """`with OtlpReceiver() as collector`; `collector.env` points OpenTelemetry's exporter there."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                body = ExportTraceServiceRequest()
                body.ParseFromString(self.rfile.read(int(self.headers["content-length"])))
                for group in body.resource_spans:
                    resource = {a.key: _value(a.value) for a in group.resource.attributes}
                    outer.spans.extend(Received(span, resource) for s in group.scope_spans for span in s.spans)
                self.send_response(200 if self.path.endswith("/v1/traces") else 404)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def env(self) -> dict[str, str]:
        """With short batches, so that a test does not wait for them."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self._server.server_address[1]}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    def __enter__(self) -> Self:
        threading.Thread(target=lambda: self._server.serve_forever(0.02), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind)
