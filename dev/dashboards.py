"""Writes the Grafana dashboards in `deploy/grafana` from the queries below: `make dashboards`.

`dev/grafana.py` makes Grafana's JSON of them.
"""

from __future__ import annotations

from pathlib import Path

from dev.grafana import Dashboard, Panel, Query, Unit, rendered

FOLDER = Path(__file__).parents[1] / "deploy" / "grafana"
_RATE = "[$__rate_interval]"


def _rate(metric: str, *by: str, matching: str = "") -> str:
    return f"sum by ({', '.join(by)}) (rate({metric}{matching}{_RATE}))"


def _quantile(share: float, metric: str, *by: str, matching: str = "") -> str:
    return f"histogram_quantile({share}, {_rate(f'{metric}_bucket', 'le', *by, matching=matching)})"


def _lines(title: str, unit: Unit, expr: str, legend: str, help_: str = "", width: int = 8) -> Panel:
    return Panel(title, unit, (Query(expr, legend),), help_, width=width)


def _number(title: str, expr: str, help_: str = "", unit: Unit = "short") -> Panel:
    return Panel(title, unit, (Query(expr),), help_, kind="stat", width=4)


_FAILED = 'sum(rate(open_responses_responses_total{status="failed"}[$__rate_interval]))'
_ALL = "sum(rate(open_responses_responses_total[$__rate_interval]))"
_CALL = "gen_ai_provider_name", "gen_ai_request_model"
_CALL_LEGEND = "{{gen_ai_provider_name}} {{gen_ai_request_model}}"

OVERVIEW = Dashboard(
    "overview",
    "open_responses: overview",
    (
        _number("Running", "max(open_responses_running_responses)", "Responses that have started and not ended."),
        _number("Waiting for a person", 'max(open_responses_waiting_responses{reason="approval"})'),
        _number("Waiting for a provider", 'max(open_responses_waiting_responses{reason="retry"})'),
        _number("Open streams", "sum(open_responses_open_streams)"),
        _number("Failing", f"{_FAILED} / ({_ALL} > 0)", "The share of ended responses that failed.", "percentunit"),
        _number("Workers", "max(open_responses_live_workers)", "Workers with a valid lease."),
        _lines("Requests", "reqps", _rate("open_responses_requests_total", "model"), "{{model}}"),
        _lines("Responses that ended", "reqps", _rate("open_responses_responses_total", "status"), "{{status}}"),
        _lines(
            "Failures by code",
            "reqps",
            _rate("open_responses_responses_total", "error_code", matching='{status="failed"}'),
            "{{error_code}}",
        ),
        Panel(
            "Time to the first token",
            "s",
            (
                Query(_quantile(0.5, "gen_ai_server_time_to_first_token_seconds"), "half"),
                Query(_quantile(0.95, "gen_ai_server_time_to_first_token_seconds"), "95 %"),
            ),
        ),
        _lines(
            "Time of a response, 95 %",
            "s",
            _quantile(0.95, "open_responses_response_duration_seconds", "status"),
            "{{status}}",
        ),
        _lines("Refusals by code", "reqps", _rate("open_responses_refusals_total", "code"), "{{code}}"),
        _lines("Model turns", "reqps", _rate("open_responses_loop_iterations_total", "model"), "{{model}}"),
        _lines("Tool calls", "reqps", _rate("open_responses_tool_dispatches_total", "tool"), "{{tool}}"),
        _lines("Events of streams", "reqps", _rate("open_responses_stream_events_total", "type"), "{{type}}"),
        _lines("Tasks that wait for a worker", "short", "max by (kind) (open_responses_backlog_tasks)", "{{kind}}"),
        _lines("The oldest of them", "s", "max by (kind) (open_responses_backlog_age_seconds)", "{{kind}}"),
        _lines(
            "Cost in an hour",
            "currencyUSD",
            "sum by (model) (increase(open_responses_cost_usd_total[1h]))",
            "{{model}}",
            "What has a known price.",
        ),
    ),
)

PROVIDERS = Dashboard(
    "providers",
    "open_responses: providers and tools",
    (
        Panel(
            "Breakers",
            "short",
            (Query("max by (provider) (open_responses_breaker_open)", "{{provider}}"),),
            "1: the provider failed repeatedly, and gets no requests for the moment.",
            kind="bargauge",
        ),
        _lines(
            "Attempts that did not end well",
            "reqps",
            _rate("open_responses_attempts_total", "provider", "reason", matching='{outcome=~"failed|broken"}'),
            "{{provider}} {{reason}}",
        ),
        _lines(
            "Turns that fell back to",
            "reqps",
            _rate("open_responses_fallbacks_total", "provider", "model"),
            "{{provider}}, for {{model}}",
        ),
        _lines(
            "Time to the first token, 95 %",
            "s",
            _quantile(0.95, "gen_ai_server_time_to_first_token_seconds", *_CALL),
            _CALL_LEGEND,
        ),
        _lines(
            "Time for each further token, half",
            "s",
            _quantile(0.5, "gen_ai_server_time_per_output_token_seconds", *_CALL),
            _CALL_LEGEND,
        ),
        _lines(
            "Time of a call, 95 %",
            "s",
            _quantile(0.95, "gen_ai_client_operation_duration_seconds", *_CALL),
            _CALL_LEGEND,
        ),
        _lines("Calls", "reqps", _rate("gen_ai_client_operation_duration_seconds_count", *_CALL), _CALL_LEGEND),
        _lines(
            "Calls that failed",
            "reqps",
            _rate(
                "gen_ai_client_operation_duration_seconds_count",
                "gen_ai_provider_name",
                "error_type",
                matching='{error_type!=""}',
            ),
            "{{gen_ai_provider_name}} {{error_type}}",
        ),
        _lines(
            "Tokens in a second",
            "short",
            _rate("gen_ai_client_token_usage_sum", "gen_ai_request_model", "gen_ai_token_type"),
            "{{gen_ai_request_model}} {{gen_ai_token_type}}",
        ),
        _lines(
            "Time of a tool call, 95 %",
            "s",
            _quantile(0.95, "open_responses_tool_duration_seconds", "tool"),
            "{{tool}}",
        ),
        _lines(
            "Tool calls that failed",
            "reqps",
            _rate("open_responses_tool_duration_seconds_count", "tool", "outcome", matching='{outcome!="done"}'),
            "{{tool}} {{outcome}}",
        ),
        _lines(
            "Requests to MCP servers",
            "reqps",
            _rate("open_responses_mcp_requests_total", "server", "operation", "outcome"),
            "{{server}} {{operation}} {{outcome}}",
        ),
        _lines(
            "Attempts to send webhooks",
            "reqps",
            _rate("open_responses_webhook_attempts_total", "outcome"),
            "{{outcome}}",
        ),
    ),
)

_TENANT = '{tenant=~"$tenant"}'
TENANTS = Dashboard(
    "tenants",
    "open_responses: tenants",
    (
        _lines(
            "Responses",
            "reqps",
            _rate("open_responses_responses_total", "tenant", "status", matching=_TENANT),
            "{{tenant}} {{status}}",
        ),
        _lines(
            "Failures by code",
            "reqps",
            _rate(
                "open_responses_responses_total",
                "tenant",
                "error_code",
                matching='{tenant=~"$tenant", status="failed"}',
            ),
            "{{tenant}} {{error_code}}",
        ),
        _lines(
            "Used part of a limit",
            "percentunit",
            f"max by (tenant, limit) (open_responses_limit_used_ratio{_TENANT})",
            "{{tenant}} {{limit}}",
        ),
        _lines(
            "Tokens in a second",
            "short",
            _rate("open_responses_tokens_total", "tenant", "type", matching=_TENANT),
            "{{tenant}} {{type}}",
        ),
        _lines(
            "Cost in an hour",
            "currencyUSD",
            f"sum by (tenant, model) (increase(open_responses_cost_usd_total{_TENANT}[1h]))",
            "{{tenant}} {{model}}",
            "What has a known price. GET /v1/usage has the exact sums.",
        ),
        _lines(
            "Responses without a known price, in an hour",
            "short",
            "sum by (model, provider) (increase(open_responses_unpriced_total[1h]))",
            "{{model}} of {{provider}}",
            "Add their prices to the configuration.",
        ),
        _lines(
            "Time to the first token, 95 %",
            "s",
            _quantile(0.95, "gen_ai_server_time_to_first_token_seconds", "tenant", matching=_TENANT),
            "{{tenant}}",
        ),
        _lines(
            "Calls of models",
            "reqps",
            _rate("gen_ai_client_operation_duration_seconds_count", "tenant", "gen_ai_request_model", matching=_TENANT),
            "{{tenant}} {{gen_ai_request_model}}",
        ),
        _lines("Refusals, of all tenants", "reqps", _rate("open_responses_refusals_total", "code"), "{{code}}"),
    ),
    by_tenant=True,
)

DURABILITY = Dashboard(
    "durability",
    "open_responses: durability",
    (
        _number("Workers", "max(open_responses_live_workers)"),
        _number("Takeovers", "sum(increase(open_responses_takeovers_total[$__range]))"),
        _number("Taken over", "sum(increase(open_responses_taken_over_activities_total[$__range]))", "Activities."),
        _number("Streams lost", "sum(increase(open_responses_stream_lost_total[$__range]))"),
        _number("Configuration", "min(open_responses_configuration_in_force)", "0: the last change was rejected."),
        _number(
            "Rejected changes",
            "sum(increase(open_responses_configuration_reload_errors_total[$__range]))",
        ),
        Panel(
            "Silence before a takeover",
            "s",
            (
                Query(
                    "histogram_quantile(0.5, sum by (le) (rate(open_responses_takeover_silence_seconds_bucket[1h])))",
                    "half",
                ),
                Query(
                    "histogram_quantile(0.95, sum by (le) (rate(open_responses_takeover_silence_seconds_bucket[1h])))",
                    "95 %",
                ),
            ),
            "From a dead worker's last renewal of its lease. Clients wait for as long.",
        ),
        _lines(
            "Redis and Temporal",
            "short",
            "min by (dependency, instance) (open_responses_dependency_up)",
            "{{dependency}} from {{instance}}",
        ),
        _lines(
            "Outages in an hour",
            "short",
            "max by (dependency) (increase(open_responses_dependency_outages_total[1h]))",
            "{{dependency}}",
        ),
        _lines(
            "Logs restored",
            "reqps",
            _rate("open_responses_logs_restored_total", "outcome"),
            "{{outcome}}",
        ),
        _lines(
            "Streams that clients went on with",
            "reqps",
            _rate("open_responses_stream_resumes_total", "response"),
            "{{response}}",
        ),
        _lines(
            "Samples and tool calls of a worker",
            "short",
            "sum by (instance) (open_responses_running_activities)",
            "{{instance}}",
        ),
        _lines(
            "Attempts that another attempt followed",
            "reqps",
            _rate("open_responses_attempts_total", "outcome", matching='{outcome!="done"}'),
            "{{outcome}}",
        ),
        _lines(
            "Versions that run",
            "short",
            "count by (component, version) (open_responses_info)",
            "{{component}} {{version}}",
        ),
        _lines("Memory", "bytes", "sum by (instance) (process_resident_memory_bytes)", "{{instance}}"),
    ),
)

DASHBOARDS = (OVERVIEW, PROVIDERS, TENANTS, DURABILITY)


def main() -> None:
    """Write all of them."""
    for dashboard in DASHBOARDS:
        (FOLDER / f"{dashboard.name}.json").write_text(rendered(dashboard), encoding="utf-8")


if __name__ == "__main__":
    main()
