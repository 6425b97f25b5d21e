"""Grafana's JSON of a dashboard.

Each panel is a title, a unit and its queries. All else in the JSON is the same for every panel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Unit: TypeAlias = Literal["short", "s", "percentunit", "currencyUSD", "reqps", "bytes"]
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS = 24


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and how its series are named."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """`width` of 24 columns. `kind`: a line for each series, or one number."""

    title: str
    unit: Unit
    queries: tuple[Query, ...]
    help: str = ""
    kind: Literal["timeseries", "stat", "bargauge"] = "timeseries"
    width: int = 8


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One file. `by_tenant`: it has a list of tenants to choose from."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    by_tenant: bool = False


def rendered(dashboard: Dashboard) -> str:
    """The dashboard as Grafana imports it."""
    variables: list[dict[str, Any]] = [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
    if dashboard.by_tenant:
        variables.append(
            {
                "name": "tenant",
                "type": "query",
                "datasource": _DATASOURCE,
                "query": {"query": "label_values(open_responses_responses_total, tenant)", "refId": "tenants"},
                "includeAll": True,
                "multi": True,
                "refresh": 2,
                "current": {"text": "All", "value": "$__all"},
            }
        )
    whole = {
        "uid": f"open-responses-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["open_responses"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "links": [{"type": "dashboards", "title": "open_responses", "tags": ["open_responses"], "asDropdown": True}],
        "panels": _placed(dashboard.panels),
    }
    return json.dumps(whole, indent=1) + "\n"


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    placed = list[dict[str, Any]]()
    x = y = row_height = 0
    for number, panel in enumerate(panels, 1):
        height = 4 if panel.kind == "stat" else 8
        if x + panel.width > _COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        placed.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": height}))
        x, row_height = x + panel.width, max(row_height, height)
    return placed


def _panel(number: int, panel: Panel, position: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + i), "datasource": _DATASOURCE, "expr": query.expr, "legendFormat": query.legend}
        for i, query in enumerate(panel.queries)
    ]
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": _DATASOURCE,
        "gridPos": position,
        "targets": targets,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
    }
