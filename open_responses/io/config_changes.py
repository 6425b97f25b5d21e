"""Differences between two configurations, as an operator reads them in a log line. No value is quoted, only names."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from open_responses.config import Config

_TABLES = (
    ("provider", "providers", "name"),
    ("route", "routes", "model"),
    ("tool", "tools", "name"),
    ("MCP server", "mcp_servers", "label"),
    ("middleware", "middleware", "target"),
    ("API key", "api_keys", "id"),
)


def changes_between(old: Config, new: Config) -> list[str]:
    """Return one phrase for each difference, such as `route 'gpt-*' added` or `provider 'x' changed: base_url`."""
    tables = {field for _, field, _ in _TABLES}
    found = [
        f"{name} changed"
        for name in Config.model_fields
        if name not in tables and getattr(old, name) != getattr(new, name)
    ]
    for what, field, name in _TABLES:
        before, after = ({getattr(row, name): row for row in getattr(one, field)} for one in (old, new))
        differing = _differences(what, before, after)
        if not differing and getattr(old, field) != getattr(new, field):
            # The order of routes and middlewares decides, and a route may be there twice.
            differing = [f"{field} in another order"]
        found += differing
    return found


def _differences(what: str, before: Mapping[str, BaseModel], after: Mapping[str, BaseModel]) -> list[str]:
    found = [f"{what} {name!r} removed" for name in before if name not in after]
    found += [f"{what} {name!r} added" for name in after if name not in before]
    for name, row in after.items():
        if name in before and before[name] != row:
            fields = [field for field in type(row).model_fields if getattr(row, field) != getattr(before[name], field)]
            found.append(f"{what} {name!r} changed: {', '.join(fields)}")
    return found
