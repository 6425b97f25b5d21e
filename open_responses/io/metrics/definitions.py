"""Each metric: its name, what it counts, and its labels. `docs/metrics.md` lists the same.

The first four have the names of the original open-responses server, and the `gen_ai_*` ones those of OpenTelemetry's
semantic conventions for generative AI, as its Prometheus exporters write them.
"""

from __future__ import annotations

from functools import partial

from prometheus_client import (
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override

from open_responses.events.event_types import EVENT_TYPES
from open_responses.io.metrics import families
from open_responses.io.metrics.families import OTHER

# This would add a series for each set of labels, and no dashboard uses it.
disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = families.Registry(auto_describe=True)
"""All of them."""
APART: list[Collector] = [
    ProcessCollector(registry=REGISTRY),
    PlatformCollector(registry=REGISTRY),
    GCCollector(registry=REGISTRY),
]
"""Those that are no `Family`."""

_counter = partial(families.counter, REGISTRY)
_gauge = partial(families.gauge, REGISTRY)
_histogram = partial(families.histogram, REGISTRY)

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The buckets that the conventions advise for durations of operations."""
_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_FIRST_TOKEN_SECONDS = (0.02, 0.04, 0.08, 0.15, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
_LONG_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 86400)
_SILENCE_SECONDS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30, 60)

# --- the names of the original

REQUESTS = _counter("open_responses_requests", "Responses that requests asked this API process to start.", ["model"])
LOOP_ITERATIONS = _counter("open_responses_loop_iterations", "Model turns that ended.", ["model"])
TOOL_DISPATCHES = _counter("open_responses_tool_dispatches", "Attempts at tool calls that workers made.", ["tool"])


class StreamEvents(Collector):
    """`open_responses_stream_events_total`. Events are counted for each delta: a dictionary costs least."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys((*EVENT_TYPES, OTHER), 0)

    def describe(self) -> list[CounterMetricFamily]:
        """Return the metric without its values, so that registering it collects nothing."""
        return [self._family()]

    @override
    def collect(self) -> list[CounterMetricFamily]:
        family = self._family()
        for kind, count in self.counts.items():
            if count:
                family.add_metric([kind], count)
        return [family]

    @staticmethod
    def _family() -> CounterMetricFamily:
        text = "Events that this process appended to streams."
        return CounterMetricFamily("open_responses_stream_events", text, labels=["type"])


STREAM_EVENTS = StreamEvents()
REGISTRY.register(STREAM_EVENTS)
APART.append(STREAM_EVENTS)

# --- OpenTelemetry's names: calls of models

_CALL = ["gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "tenant"]
_OPEN = ["gen_ai_request_model", "tenant", "model", "tool"]

OPERATION_DURATION = _histogram(
    "gen_ai_client_operation_duration_seconds",
    "The time of a call of a model, and of a tool, with the error that ended it.",
    [*_CALL, "error_type"],
    _OPEN,
    _SECONDS,
)
TOKEN_USAGE = _histogram(
    "gen_ai_client_token_usage",
    "Tokens of a model turn, by type: input, output; of these, cached_input and reasoning.",
    [*_CALL, "gen_ai_token_type"],
    _OPEN,
    _TOKENS,
)
TIME_TO_FIRST_TOKEN = _histogram(
    "gen_ai_server_time_to_first_token_seconds",
    "From the call of the model to the first delta of its answer.",
    _CALL,
    _OPEN,
    _FIRST_TOKEN_SECONDS,
)
TIME_PER_OUTPUT_TOKEN = _histogram(
    "gen_ai_server_time_per_output_token_seconds",
    "From the first delta to the last, divided by the output tokens behind the first.",
    _CALL,
    _OPEN,
    _TOKEN_SECONDS,
)

# --- responses

RESPONSES = _counter(
    "open_responses_responses",
    "Responses that ended, by status; error_code is empty for those that did not fail.",
    ["model", "provider", "tenant", "status", "error_code"],
    _OPEN,
)
RESPONSE_DURATION = _histogram(
    "open_responses_response_duration_seconds",
    "From the request to the response's end.",
    ["model", "provider", "status"],
    _OPEN,
    _LONG_SECONDS,
)
TOKENS = _counter(
    "open_responses_tokens",
    "Tokens of responses that ended, attempts that failed included, by type as above.",
    ["model", "provider", "tenant", "type"],
    _OPEN,
)
COST = _counter(
    "open_responses_cost_usd",
    "The cost of responses that ended, in US dollars, as far as prices are known.",
    ["model", "provider", "tenant"],
    _OPEN,
)
UNPRICED = _counter(
    "open_responses_unpriced", "Responses with tokens that no price is known for.", ["model", "provider"], _OPEN
)

# --- attempts, providers, tools

ATTEMPTS = _counter(
    "open_responses_attempts",
    "Attempts at a model turn, by how they ended and why (an error code; empty for done).",
    ["provider", "outcome", "reason"],
)
FALLBACKS = _counter(
    "open_responses_fallbacks",
    "Model turns that went on with this provider.",
    ["provider", "model"],
    _OPEN,
)
TOOL_DURATION = _histogram(
    "open_responses_tool_duration_seconds",
    "The time of one attempt at a tool call.",
    ["tool", "outcome"],
    _OPEN,
    _SECONDS,
)
MCP_REQUESTS = _counter("open_responses_mcp_requests", "Requests to MCP servers.", ["server", "operation", "outcome"])
WEBHOOK_ATTEMPTS = _counter(
    "open_responses_webhook_attempts",
    "Attempts to send a webhook, by what became of the delivery: delivered, pending (it is tried again), failed.",
    ["outcome"],
)
RUNNING_ACTIVITIES = _gauge("open_responses_running_activities", "Samples and tool calls that this worker runs.")

# --- the API

REFUSALS = _counter("open_responses_refusals", "Requests and messages that got an error, by its code.", ["code"])
OPEN_STREAMS = _gauge("open_responses_open_streams", "Streams and WebSockets that this API process has open.")
STREAM_RESUMES = _counter(
    "open_responses_stream_resumes",
    "Streams that a client went on with, by what the response was doing: running, ended.",
    ["response"],
)
STREAMS_LOST = _counter("open_responses_stream_lost", "Streams that ended with `stream_lost`.")
LIMIT_USED = _gauge(
    "open_responses_limit_used_ratio",
    "How much of a limit was used when a response of the tenant was last admitted or refused.",
    ["tenant", "limit"],
)

# --- the whole server, as the API process that is scraped reads it

RUNNING_RESPONSES = _gauge("open_responses_running_responses", "Responses that have started and not ended.")
WAITING_RESPONSES = _gauge(
    "open_responses_waiting_responses", "Responses that wait for a person (approval) or a provider (retry).", ["reason"]
)
BACKLOG_TASKS = _gauge("open_responses_backlog_tasks", "Tasks that wait in Temporal for a worker.", ["kind"])
BACKLOG_AGE = _gauge("open_responses_backlog_age_seconds", "The age of the oldest of these tasks.", ["kind"])
LIVE_WORKERS = _gauge("open_responses_live_workers", "Workers with a valid lease.")
BREAKER_OPEN = _gauge(
    "open_responses_breaker_open", "1: the provider failed repeatedly and is sent no requests. 0: it is.", ["provider"]
)

# --- durability

TAKEOVERS = _counter("open_responses_takeovers", "Dead workers that this worker took over.")
TAKEN_OVER_ACTIVITIES = _counter("open_responses_taken_over_activities", "Activities of dead workers, reported lost.")
TAKEOVER_SILENCE = _histogram(
    "open_responses_takeover_silence_seconds",
    "From a dead worker's last renewal of its lease to its takeover. Announced deaths are not in it.",
    [],
    [],
    _SILENCE_SECONDS,
)
LOGS_RESTORED = _counter(
    "open_responses_logs_restored", "Event logs that Redis had lost, by outcome: restored, lost, failed.", ["outcome"]
)
DEPENDENCY_UP = _gauge(
    "open_responses_dependency_up", "1 while this process reaches Redis or Temporal, else 0.", ["dependency"]
)
OUTAGES = _counter(
    "open_responses_dependency_outages", "Outages of Redis and Temporal that this process saw.", ["dependency"]
)

# --- the process

INFO = _gauge("open_responses_info", "1; the labels say what runs.", ["version", "component"])
CONFIGURATION_ERRORS = _counter(
    "open_responses_configuration_reload_errors", "Changed configuration files that were rejected."
)
CONFIGURATION_IN_FORCE = _gauge(
    "open_responses_configuration_in_force", "1: the configuration file is in force. 0: its last change was rejected."
)
CONFIGURATION_LOADED = _gauge(
    "open_responses_configuration_loaded_timestamp_seconds",
    "When the configuration in force was loaded (Unix seconds).",
)
