"""The `traceparent` header of W3C Trace Context, and the ids of a response's own span."""

from __future__ import annotations

import pytest

from open_responses.io.telemetry.trace_context import TraceContext

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{SPAN}-01"


def test_a_header_is_read_and_written_alike() -> None:
    context = TraceContext.parse(HEADER)
    assert context == TraceContext(TRACE, SPAN, is_sampled=True)
    assert context.header == HEADER


def test_a_trace_that_is_not_sampled_stays_so() -> None:
    context = TraceContext.parse(HEADER[:-2] + "00")
    assert context is not None
    assert not context.is_sampled
    assert not TraceContext.of_response("resp_1", context.header).is_sampled


def test_a_later_version_may_be_longer() -> None:
    assert TraceContext.parse(f"01-{TRACE}-{SPAN}-01-more") == TraceContext(TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}",
        f" {HEADER}",
        f"{HEADER}\n",
    ],
)
def test_an_invalid_header_is_ignored(header: str | None) -> None:
    assert TraceContext.parse(header) is None


def test_each_process_computes_the_same_span_of_a_response() -> None:
    first, second = (TraceContext.of_response("resp_1", HEADER) for _ in range(2))
    assert first == second
    assert first.trace_id == TRACE
    assert first.span_id not in (SPAN, TraceContext.of_response("resp_2", HEADER).span_id)


def test_a_response_outside_of_a_trace_begins_one_of_its_own() -> None:
    one, other = TraceContext.of_response("resp_1", None), TraceContext.of_response("resp_2", None)
    assert one == TraceContext.of_response("resp_1", "nonsense")
    assert TraceContext.parse(one.header) == one
    assert one.trace_id != other.trace_id
