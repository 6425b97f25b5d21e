"""A real Prometheus scrapes the processes, evaluates the alert rules and answers each query of the dashboards.

Debian's package `prometheus` has both programs. Where they are not installed, the tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from dev import services
from dev.dashboards import DASHBOARDS, FOLDER
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.scripts import HOSTED, script
from tests.support.stack import Stack, collect, http_client, until

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(
        shutil.which("prometheus") is None or shutil.which("promtool") is None,
        reason="Prometheus is not installed: apt-get install prometheus",
    ),
]

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"
CONFIGURATION = RULES.with_name("prometheus.yml")
ALERTS = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}

# Of each alert's series: what it is when all is well, and when somebody has to act. For two hours, a sample a minute.
SERIES = {
    'up{job="open_responses-api", instance="api:9465"}': ("1x120", "0x120"),
    "open_responses_live_workers": ("2x120", "0x120"),
    'open_responses_dependency_up{dependency="redis"}': ("1x120", "0x120"),
    'open_responses_responses_total{status="failed", model="m"}': ("0+1x120", "0+50x120"),
    'open_responses_responses_total{status="completed", model="m"}': ("0+100x120", "0+100x120"),
    'open_responses_breaker_open{provider="p"}': ("0x120", "1x120"),
    'gen_ai_server_time_to_first_token_seconds_bucket{le="1.0", gen_ai_provider_name="p"}': ("0+10x120", "0x120"),
    'gen_ai_server_time_to_first_token_seconds_bucket{le="10.0", gen_ai_provider_name="p"}': ("0+10x120", "0x120"),
    'gen_ai_server_time_to_first_token_seconds_bucket{le="60.0", gen_ai_provider_name="p"}': ("0+10x120", "0+10x120"),
    'gen_ai_server_time_to_first_token_seconds_bucket{le="+Inf", gen_ai_provider_name="p"}': ("0+10x120", "0+10x120"),
    'open_responses_backlog_age_seconds{kind="activity"}': ("1x120", "20x120"),
    'open_responses_refusals_total{code="overloaded"}': ("5x120", "0+5x120"),
    'open_responses_waiting_responses{reason="retry"}': ("0x120", "3x120"),
    'open_responses_waiting_responses{reason="approval"}': ("0x120", "1x120"),
    "open_responses_takeovers_total": ("1x120", "0+1x120"),
    "open_responses_stream_lost_total": ("0x120", "0+1x120"),
    'open_responses_logs_restored_total{outcome="restored"}': ("0+1x120", "0+1x120"),
    'open_responses_logs_restored_total{outcome="lost"}': ("0x120", "0+1x120"),
    "open_responses_configuration_in_force": ("1x120", "0x120"),
    'open_responses_limit_used_ratio{tenant="t", limit="budget_usd"}': ("0.5x120", "0.95x120"),
    'open_responses_limit_used_ratio{tenant="t", limit="max_concurrent"}': ("1x120", "1x120"),
    'open_responses_unpriced_total{model="m", provider="p"}': ("0x120", "0+1x120"),
}


def promtool(*arguments: str | Path) -> str:
    ran = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    promtool("check", "config", CONFIGURATION)
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", RULES)


def test_every_alert_fires_when_something_is_wrong_and_none_when_all_is_well(tmp_path: Path) -> None:
    def case(column: int, firing: set[str]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values[column]} for name, values in SERIES.items()],
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": "90m",
                    "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(firing)],
                }
            ],
        }

    file = tmp_path / "cases.yml"
    cases = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case(0, set()), case(1, ALERTS)]}
    file.write_text(yaml.safe_dump(cases))
    promtool("test", "rules", file)


async def test_it_scrapes_all_processes_and_answers_each_query_of_the_dashboards(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream, tmp_path: Path
) -> None:
    targets = {
        "open_responses-api": [stack.api_url.removeprefix("http://")],
        "open_responses-worker": [f"127.0.0.1:{port}" for port in stack.metrics_ports.values()],
    }
    async with prometheus(tmp_path, targets) as asked:

        async def are_scraped() -> bool:
            return len(await asked("up == 1")) == 3

        await until(are_scraped, seconds=60)
        script(upstream, "for prometheus", calls(("c1", "get_weather", {"city": "Rome"})), Script(words=9))
        upstream.says("broken for prometheus", Script(words=9, faults=[Fault(after=4, drop=True), None]))
        upstream.says("failed for prometheus", Script(faults=[Fault(status=400)]))
        for prompt in ("for prometheus", "broken for prometheus", "failed for prometheus"):
            await collect(client, {"input": prompt, "tools": HOSTED})
        await client.post("/v1/responses", json={"model": "fake", "input": 7})

        async def have_values() -> bool:
            shown = [bool(await asked(expression)) for expression in _shown_after_these()]
            return all(shown)

        await until(have_values, seconds=60)
        for where, expression in _queries():
            assert isinstance(await asked(expression), list), where


def _shown_after_these() -> list[str]:
    """What those few responses have to show, as an operator would ask for it."""
    return [
        'open_responses_requests_total{model="fake"} > 0',
        'open_responses_loop_iterations_total{model="fake"} > 0',
        'open_responses_tool_dispatches_total{tool="get_weather"} > 0',
        'open_responses_stream_events_total{type="response.created"} > 0',
        'open_responses_responses_total{status="failed"} > 0',
        'open_responses_attempts_total{outcome="broken"} > 0',
        "open_responses_refusals_total > 0",
        "max(open_responses_live_workers) == 2",
        "histogram_quantile(0.95, sum by (le) (gen_ai_server_time_to_first_token_seconds_bucket)) > 0",
        "temporal_request",
    ]


def _queries() -> Iterator[tuple[str, str]]:
    """Those of the dashboards, with values for Grafana's variables."""
    for dashboard in DASHBOARDS:
        for panel in json.loads((FOLDER / f"{dashboard.name}.json").read_text())["panels"]:
            for target in panel["targets"]:
                expression = re.sub(r"\$__(rate_interval|range)", "5m", target["expr"]).replace("$tenant", ".*")
                assert "$" not in expression
                yield f"{dashboard.name}: {panel['title']}", expression


@asynccontextmanager
async def prometheus(folder: Path, targets: dict[str, list[str]]) -> AsyncIterator[Any]:
    """A Prometheus with our rules that scrapes each second. Yields a function that evaluates an expression."""
    port = services.free_port()
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": at}]} for job, at in targets.items()],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with _running(folder, port):
        async with http_client(f"http://127.0.0.1:{port}") as client:

            async def is_ready() -> bool:
                try:
                    return (await client.get("/-/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(is_ready, seconds=60)

            async def asked(expression: str) -> list[dict[str, Any]]:
                answer = await client.get("/api/v1/query", params={"query": expression})
                assert answer.json()["status"] == "success", answer.text
                found: list[dict[str, Any]] = answer.json()["data"]["result"]
                return found

            yield asked
            await _every_rule_is_healthy(client)


async def _every_rule_is_healthy(client: httpx.AsyncClient) -> None:
    async def are_evaluated() -> bool:
        groups = (await client.get("/api/v1/rules")).json()["data"]["groups"]
        health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        assert "err" not in health.values(), health
        return health == dict.fromkeys(ALERTS, "ok")

    await until(are_evaluated, seconds=60)


@contextmanager
def _running(folder: Path, port: int) -> Iterator[None]:
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)
