"""Each query of the dashboards and alerts asks for metrics and labels that `/metrics` has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client import Metric

from dev.dashboards import DASHBOARDS, FOLDER, rendered
from open_responses.io.metrics import definitions
from open_responses.io.metrics.families import Family

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]

_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
# A name with one of these prefixes, and its matchers.
_SELECTOR = re.compile(r"(?<![\w\"~])((?:open_responses|gen_ai|process|python|temporal|up)\w*)(?:\{([^}]*)\})?")
# Prometheus adds these itself.
_OF_PROMETHEUS = {"job", "instance"}


def exposed() -> dict[str, set[str]]:
    """Each series that a query may name, with its labels."""
    found: dict[str, set[str]] = {"up": set()}
    for family in definitions.REGISTRY.collect():
        for suffix in _SUFFIXES.get(family.type, ()):
            found[family.name + suffix] = labels_of(family) | ({"le"} if suffix == "_bucket" else set())
    return found


def labels_of(family: Metric) -> set[str]:
    """By the definition, since a metric without values exposes no label."""
    for known in vars(definitions).values():
        if isinstance(known, Family) and known.name == family.name:
            return set(known.labels)
    return {"type"} if family.name == "open_responses_stream_events" else set()


SERIES = exposed()


def problems(expression: str) -> list[str]:
    """What of an expression no process exposes."""
    found, named = list[str](), set[str]()
    for name, matchers in _SELECTOR.findall(without_groupings(expression)):
        if name not in SERIES:
            found.append(f"no metric {name}")
            continue
        named.add(name)
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            if label not in SERIES[name] | _OF_PROMETHEUS:
                found.append(f"{name} has no label {label}")
    if not named:
        found.append("it names no metric")
    labels = _OF_PROMETHEUS.union(*(SERIES[name] for name in named))
    for group in re.findall(r"\bby\s*\(([^)]*)\)", expression):
        found += [f"nothing has the label {label}" for label in re.findall(r"\w+", group) if label not in labels]
    return found


def without_groupings(expression: str) -> str:
    return re.sub(r"\bby\s*\([^)]*\)|\[[^\]]*\]", " ", expression)


def queries() -> list[tuple[str, str]]:
    found = [(alert["alert"], alert["expr"]) for alert in ALERTS]
    for dashboard in DASHBOARDS:
        for panel in json.loads((FOLDER / f"{dashboard.name}.json").read_text())["panels"]:
            found += [(f"{dashboard.name}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


@pytest.mark.parametrize(("where", "expression"), queries())
def test_a_query_names_metrics_and_labels_that_are_exposed(where: str, expression: str) -> None:
    assert problems(expression) == [], where


def test_a_query_that_names_what_is_not_exposed_is_found() -> None:
    assert problems("sum(rate(open_responses_made_up_total[5m]))") == [
        "no metric open_responses_made_up_total",
        "it names no metric",
    ]
    assert problems('open_responses_requests_total{tenant="a"}') == [
        "open_responses_requests_total has no label tenant"
    ]
    assert problems("sum by (tenant) (open_responses_requests_total)") == ["nothing has the label tenant"]
    assert problems("open_responses_requests") == ["no metric open_responses_requests", "it names no metric"]


def test_the_dashboards_are_those_of_the_program_that_writes_them() -> None:
    written = {file.name: file.read_text() for file in FOLDER.glob("*.json")}
    due = {f"{dashboard.name}.json": rendered(dashboard) for dashboard in DASHBOARDS}
    assert written == due, "run `make dashboards`"


def test_each_metric_of_ours_is_on_a_dashboard_or_in_an_alert() -> None:
    asked = " ".join(expression for _, expression in queries())
    names = {family.name for family in definitions.REGISTRY.collect()}
    ours = {name for name in names if name.startswith(("open_responses_", "gen_ai_"))}
    unseen = {name for name in ours if name not in asked}
    assert unseen <= {"open_responses_configuration_loaded_timestamp_seconds"}


def test_each_alert_says_how_severe_it_is_and_what_is_wrong() -> None:
    names = [alert["alert"] for alert in ALERTS]
    assert len(set(names)) == len(names)
    for alert in ALERTS:
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"]["summary"].endswith(".")
