"""Spans on their way to a collector, a real one over HTTP: nothing of the server waits for it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import pytest_asyncio

from open_responses.errors import ProviderRateLimited
from open_responses.io.telemetry.export import SpanExport, export_spans, is_wanted
from open_responses.io.telemetry.spans import current_traceparent, inside, is_recording, record_to, span
from open_responses.io.telemetry.trace_context import TraceContext
from tests.support.code_blocks import blocks
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.stack import until

PARENT = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


@pytest.fixture
def collector() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as receiver:
        yield receiver


@contextlib.contextmanager
def exporting(monkeypatch: pytest.MonkeyPatch, env: Mapping[str, str]) -> Iterator[SpanExport]:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    export = export_spans(env, service="a-test")
    assert export is not None
    try:
        yield export
    finally:
        export.close()


@pytest_asyncio.fixture(autouse=True)
async def nothing_recorded_afterwards() -> AsyncIterator[None]:
    yield
    record_to(None)


async def until_true(condition: Callable[[], bool]) -> None:
    async def is_true() -> bool:
        return condition()

    await until(is_true)


def test_nothing_is_recorded_without_a_collector() -> None:
    assert export_spans({}, service="a-test") is None
    assert not is_recording()
    with span("work"):
        assert current_traceparent() is None


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_opentelemetrys_own_switches_turn_traces_off(off: dict[str, str]) -> None:
    assert is_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"})
    assert not is_wanted({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", **off})


def test_a_trace_is_passed_on_unchanged_where_nothing_is_recorded() -> None:
    with inside(PARENT), span("work"):
        assert current_traceparent() == PARENT.header


async def test_spans_arrive_as_a_tree(collector: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with exporting(monkeypatch, collector.env):
        # The SDK may not be imported yet: these wait for it.
        with inside(PARENT), span("outer", kind="server", attributes={"a": 1, "left out": None}) as outer:
            with span("inner", kind="client") as inner:
                inner.set({"reasons": ["stop"]})
            assert current_traceparent() == outer.context.header
        await until_true(lambda: len(collector.spans) == 2)
    (outer_span,), (inner_span,) = collector.named("outer"), collector.named("inner")
    assert {outer_span.trace_id, inner_span.trace_id} == {PARENT.trace_id}
    assert (outer_span.parent_id, inner_span.parent_id) == (PARENT.span_id, outer_span.span_id)
    assert (outer_span.kind, inner_span.kind) == (2, 3)
    assert (outer_span.attributes, inner_span.attributes) == ({"a": 1}, {"reasons": ["stop"]})
    assert outer_span.resource["service.name"] == "a-test"


async def test_a_failure_has_a_code_and_no_message(collector: OtlpReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with exporting(monkeypatch, collector.env):
        for error in (
            ProviderRateLimited("the secret"),
            RuntimeError("the secret"),
            asyncio.CancelledError(),
        ):
            with contextlib.suppress(BaseException), span(type(error).__name__):
                raise error
        await until_true(lambda: len(collector.spans) == 3)
    assert [received.attributes["error.type"] for received in collector.spans] == [
        ProviderRateLimited("").error_code,
        "RuntimeError",
        "cancelled",
    ]
    assert all(received.has_failed for received in collector.spans)
    assert not any("secret" in repr(received) + received.message for received in collector.spans)


async def test_a_trace_that_its_client_does_not_sample_is_not_sent(
    collector: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exporting(monkeypatch, collector.env):
        with inside(TraceContext(PARENT.trace_id, PARENT.span_id, is_sampled=False)), span("left out"):
            pass
        with span("sent"):
            pass
        await until_true(lambda: bool(collector.spans))
    assert [received.name for received in collector.spans] == ["sent"]


async def test_the_operators_sampler_decides_about_traces_that_begin_here(
    collector: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with exporting(monkeypatch, {**collector.env, "OTEL_TRACES_SAMPLER": "always_off"}) as export:
        await until_true(lambda: not export.samples("1" * 32))
        with span("left out") as made:
            assert not made.context.is_sampled
        with inside(PARENT), span("sent"):
            pass
        await until_true(lambda: bool(collector.spans))
    assert [received.name for received in collector.spans] == ["sent"]


async def test_the_recipe_for_langfuse_sends_its_path_and_its_key(
    collector: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = [block for block in blocks("sh", page="tracing.md") if "LANGFUSE" in block.text]
    keys = {"LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-2", "PATH": os.environ["PATH"]}
    script = f"set -a\n{block.text}\nenv -0"
    done = await asyncio.to_thread(
        subprocess.run, ["bash", "-euc", script], env=keys, capture_output=True, text=True, check=True
    )
    given = dict(line.split("=", 1) for line in done.stdout.split("\0") if line.startswith("OTEL_"))
    here = collector.env["OTEL_EXPORTER_OTLP_ENDPOINT"]
    endpoint = given["OTEL_EXPORTER_OTLP_ENDPOINT"].replace("https://cloud.langfuse.com", here)
    with exporting(monkeypatch, {**given, **collector.env, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}):
        with span("sent"):
            pass
        await until_true(lambda: bool(collector.requests))
    path, headers = collector.requests[0]
    assert path == "/api/public/otel/v1/traces"
    assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"pk-lf-1:sk-lf-2"
    assert headers["x-langfuse-ingestion-version"] == "4"


@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_collector_that_is_away_holds_nothing_up(monkeypatch: pytest.MonkeyPatch, is_silent: bool) -> None:
    """It refuses connections, or takes them and never answers. More spans than the queues have room for."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if not is_silent:
            silent.close()
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "10"}
        with exporting(monkeypatch, env):
            longest = 0.0
            for _ in range(5000):
                began = time.perf_counter()
                with span("work"):
                    pass
                longest = max(longest, time.perf_counter() - began)
                await asyncio.sleep(0)
            began = time.perf_counter()
        # The exporter's own limit for one batch is 10 s: no span has waited for it, nor has the process's end.
        assert longest < 5
        assert time.perf_counter() - began < 8
