"""The metrics of one process: their names, their bounds, and what a scrape costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dev import services
from open_responses.config import Config, RouteConfig
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.config_tables.tools import McpServerConfig, ToolConfig
from open_responses.events.event_types import EVENT_TYPES
from open_responses.io.metrics import definitions, families, recording
from open_responses.io.metrics.exposition import SdkMetrics, exposed, serve_metrics
from open_responses.io.metrics.label_values import LabelValues
from open_responses.io.metrics.text_format import text_of
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.requests import CreateResponse

CONFIG = Config(
    routes=(RouteConfig(model="exact", provider="openai"), RouteConfig(model="vendor/*", provider="openai")),
    tools=(ToolConfig(name="weather", target="a:b"),),
    mcp_servers=(McpServerConfig(label="calc", url="http://127.0.0.1/mcp"),),
    api_keys=(ApiKeyConfig(tenant="acme", sha256="0" * 64),),
).with_built_ins()


@pytest.fixture(autouse=True)
def configured() -> Iterator[None]:
    recording.configure(CONFIG, "test")
    yield
    recording.configure(Config(), "test")


def samples() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(exposed().decode()):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(name: str, **labels: str) -> float:
    return samples().get((name, tuple(sorted(labels.items()))), 0.0)


def start(response_id: str, model: str = "exact", tenant: str = "acme") -> StartResponse:
    return StartResponse(
        response_id=response_id,
        tenant=tenant,
        created_at=int(time.time()),
        request=CreateResponse(model=model, input="hi"),
        provider="openai",
        upstream_model=model,
        retry_window=1,
    )


# --- names


def test_the_names_of_the_original_are_there_with_its_labels() -> None:
    recording.request_started("exact")
    recording.model_turn_ended("openai", "exact", "exact", "acme", TurnUsage(input_tokens=3))
    recording.tool_dispatched("weather")
    recording.stream_events([{"type": "response.created"}])
    assert value("open_responses_requests_total", model="exact") >= 1
    assert value("open_responses_loop_iterations_total", model="exact") >= 1
    assert value("open_responses_tool_dispatches_total", tool="weather") >= 1
    assert value("open_responses_stream_events_total", type="response.created") >= 1


def test_a_call_of_a_model_has_opentelemetrys_names() -> None:
    labels = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "openai",
        "gen_ai_request_model": "exact",
        "tenant": "acme",
    }
    before = samples()
    recording.model_call_ended(
        "openai", "exact", "acme", seconds=2.0, to_first=0.5, to_last=1.5, output_tokens=11, error=None
    )
    recording.model_turn_ended("openai", "exact", "exact", "acme", TurnUsage(input_tokens=3, output_tokens=11))
    after = samples()

    def added(name: str, **more: str) -> float:
        key = name, tuple(sorted({**labels, **more}.items()))
        return after[key] - before.get(key, 0.0)

    assert added("gen_ai_client_operation_duration_seconds_sum", error_type="") == pytest.approx(2.0)
    assert added("gen_ai_server_time_to_first_token_seconds_sum") == pytest.approx(0.5)
    assert added("gen_ai_server_time_per_output_token_seconds_sum") == pytest.approx(0.1)
    assert added("gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 3
    assert added("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 11


def test_a_call_that_fails_before_its_first_token_has_no_time_to_it() -> None:
    before = value(
        "gen_ai_server_time_to_first_token_seconds_count",
        gen_ai_operation_name="chat",
        gen_ai_provider_name="openai",
        gen_ai_request_model="exact",
        tenant="acme",
    )
    recording.model_call_ended(
        "openai", "exact", "acme", seconds=1.0, to_first=None, to_last=None, output_tokens=0, error="provider_timeout"
    )
    same = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "openai", "gen_ai_request_model": "exact"}
    assert value("gen_ai_server_time_to_first_token_seconds_count", **same, tenant="acme") == before
    failed = value(
        "gen_ai_client_operation_duration_seconds_count", **same, tenant="acme", error_type="provider_timeout"
    )
    assert failed >= 1


def test_every_type_of_event_is_counted_under_its_name_and_an_unknown_one_under_other() -> None:
    before = dict(definitions.STREAM_EVENTS.counts)
    recording.stream_events([{"type": kind} for kind in (*EVENT_TYPES, "made.up")])
    after = definitions.STREAM_EVENTS.counts
    assert after.keys() == before.keys()
    assert {kind: after[kind] - before[kind] for kind in after} == dict.fromkeys((*EVENT_TYPES, "other"), 1)


# --- counted once


def test_an_end_that_is_written_twice_is_counted_once() -> None:
    used = TurnUsage(input_tokens=7, cost_usd=0.25, unpriced=True)
    labels = {"model": "exact", "provider": "openai", "tenant": "acme"}
    before = value("open_responses_responses_total", **labels, status="failed", error_code="provider_timeout")
    tokens = value("open_responses_tokens_total", **labels, type="input")
    for _ in range(3):
        recording.response_ended(start("resp_twice"), "failed", {"code": "provider_timeout"}, used)
    after = value("open_responses_responses_total", **labels, status="failed", error_code="provider_timeout")
    assert after - before == 1
    assert value("open_responses_tokens_total", **labels, type="input") - tokens == 7
    assert value("open_responses_cost_usd_total", **labels) == 0.25
    assert value("open_responses_unpriced_total", model="exact", provider="openai") == 1


def test_an_outage_is_counted_when_it_begins_and_not_with_each_failed_look() -> None:
    recording.dependency_is_up("redis", True)
    before = value("open_responses_dependency_outages_total", dependency="redis")
    for is_up in (False, False, False, True, True, False, True):
        recording.dependency_is_up("redis", is_up)
    assert value("open_responses_dependency_outages_total", dependency="redis") - before == 2
    assert value("open_responses_dependency_up", dependency="redis") == 1


def test_a_rejected_configuration_shows_until_one_is_loaded() -> None:
    recording.configuration_rejected()
    assert value("open_responses_configuration_in_force") == 0
    recording.configure(CONFIG, "test")
    assert value("open_responses_configuration_in_force") == 1


# --- bounds


def test_labels_have_the_configurations_names_and_else_a_bounded_number() -> None:
    values = LabelValues(CONFIG)
    assert [values.model(name) for name in ("exact", "vendor/one", "gpt-5", "nobody's")] == [
        "exact",
        "vendor/one",
        "gpt-5",
        "other",
    ]
    assert [values.tool(name) for name in ("weather", "invented", "calc.add", "theirs.add")] == [
        "weather",
        "other",
        "mcp:calc",
        "mcp:other",
    ]
    models = {values.model(f"vendor/{number}") for number in range(5000)}
    tenants = {values.tenant(f"tenant-{number}") for number in range(5000)}
    codes = {values.code(f"code_{number}") for number in range(5000)}
    assert (len(models), len(tenants), len(codes)) < (120, 60, 160)
    assert values.model("exact") == "exact", "a configured model is never crowded out"
    assert values.tenant("acme") == "acme", "nor is a configured tenant"
    assert values.model("vendor/" + "x" * 5000) == "other"


def test_a_metric_stops_growing_and_counts_on() -> None:
    registry = families.Registry()
    family = families.counter(registry, "made", "Made up.", ["model", "provider"], ["model"])
    for number in range(5000):
        family.of(f"model-{number}", "openai").inc()
    made = [sample for metric in registry.collect() for sample in metric.samples if sample.name == "made_total"]
    assert len(made) < 600
    assert sum(sample.value for sample in made) == 5000
    assert registry.get_sample_value("made_total", {"model": "other", "provider": "openai"})


def test_a_scrape_stays_small_whatever_clients_send() -> None:
    for number in range(3000):
        model, tenant = f"vendor/{number}", f"tenant-{number}"
        recording.request_started(model)
        recording.refused(f"code-{number}")
        recording.tool_dispatched(f"label-{number}.tool")
        recording.limit_used(tenant, "budget_tokens", 1, 2)
        recording.model_turn_ended("openai", model, model, tenant, TurnUsage(input_tokens=1, output_tokens=1))
        recording.model_call_ended(
            "openai", model, tenant, seconds=1, to_first=1, to_last=2, output_tokens=3, error=None
        )
        recording.response_ended(start(f"resp_{number}", model, tenant), "completed", None, None)
    assert len(exposed().splitlines()) < 25_000


def text(registry: families.Registry) -> str:
    return "".join(family.text() for family in registry.families)


def test_the_text_is_the_one_of_the_client_library() -> None:
    registry = families.Registry()
    family = families.counter(registry, "made", 'Of "a\\b"\nand more.', ["b", "a"])
    family.of('x"\n\\', "é").inc(1.5)
    families.histogram(registry, "took", "Time.", ["kind"], [], (0.5, 1)).of("k").observe(0.7)
    families.gauge(registry, "now", "Now.").of().set(3)
    families.counter(registry, "never", "Without a series.", ["kind"])
    due = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert list(text_string_to_metric_families(text(registry))) == due
    assert list(text_string_to_metric_families(text_of(registry))) == due


def test_a_series_is_written_anew_as_soon_as_it_may_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("open_responses.io.metrics.families.time.monotonic", lambda: now)
    registry = families.Registry()
    family = families.counter(registry, "made", "Made up.", ["kind"])
    made = family.of("used")
    family.of("unused").inc(5)
    assert 'made_total{kind="used"} 0.0' in text(registry)
    # A thread that had the child before a scrape changes it behind it.
    made.inc()
    assert 'made_total{kind="used"} 1.0' in text(registry)
    now += 60
    assert 'made_total{kind="used"} 1.0' in text(registry)
    now += 60
    family.of("used").inc()
    assert 'made_total{kind="used"} 2.0' in text(registry)
    assert 'made_total{kind="unused"} 5.0' in text(registry)


def test_a_series_that_has_not_changed_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now, registry = 1000.0, families.Registry()
    monkeypatch.setattr("open_responses.io.metrics.families.time.monotonic", lambda: now)
    family = families.counter(registry, "made", "Made up.", ["kind"])
    for kind in ("a", "b"):
        family.of(kind).inc()
    text(registry)
    now += 60
    before, written = text(registry), list[object]()
    monkeypatch.setattr("open_responses.io.metrics.families.series_of", lambda *given: written.append(given) or "new\n")
    assert (text(registry), written) == (before, [])
    family.of("a").inc()
    assert (text(registry).count("new"), len(written)) == (1, 1)


# --- served


def test_the_workers_address_serves_ours_and_the_sdks_and_ours_alone_where_the_sdk_is_silent() -> None:
    def get(port: int, path: str = "/metrics") -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    with served(lambda: b"temporal_long_request 1\n") as port:
        status, body = get(port)
        assert status == 200
        assert "open_responses_info{" in body
        assert body.endswith("temporal_long_request 1\n")
        assert get(port, "/elsewhere")[0] == 404
        assert {family.name for family in text_string_to_metric_families(body)} >= {"temporal_long_request"}
    sdk = SdkMetrics()
    sdk.port = services.free_port()
    with served(sdk.fetch) as port:
        assert "open_responses_info{" in get(port)[1]


def test_the_next_port_is_taken_where_one_is_in_use_and_none_stops_nothing() -> None:
    with served(bytes) as port:
        assert serve_metrics("127.0.0.1", [port]) is None
        free = services.free_port()
        server = serve_metrics("127.0.0.1", [port, free])
        assert server is not None
        assert server.server_address[1] == free
        server.shutdown()
        server.server_close()


@contextmanager
def served(more: object) -> Iterator[int]:
    port = services.free_port()
    server = serve_metrics("127.0.0.1", [port], more=more)  # type: ignore[arg-type]
    assert server is not None
    yield port
    server.shutdown()
    server.server_close()


# --- the page


def test_the_page_about_metrics_lists_each_of_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
    missing = [name for name in ours() if f"`{name}`" not in page and f"`{name}{{" not in page]
    assert missing == []


def ours() -> list[str]:
    """The names as queries use them: a counter's ends in `_total`."""
    named = []
    for family in definitions.REGISTRY.collect():
        if family.name.startswith(("open_responses_", "gen_ai_")):
            named.append(f"{family.name}_total" if family.type == "counter" else family.name)
    return named


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("localhost", 200),
        ("prometheus.internal:9464", 200),
        ("worker", 200),
        ("rebound.example:9464", 403),
        ("127.0.0.1.rebound.example", 403),
        ("[rebound.example", 403),
    ],
)
def test_a_page_reads_no_metrics_by_a_name_that_it_pointed_to_this_machine(host: str, status: int) -> None:
    port = services.free_port()
    server = serve_metrics("127.0.0.1", [port])
    assert server is not None
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", "/metrics", headers={"Host": host})
        assert connection.getresponse().status == status
    finally:
        connection.close()
        server.shutdown()
        server.server_close()
