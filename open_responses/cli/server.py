"""`open_responses health` and `refusals`: the health of the running server, and the requests that it refused."""

from __future__ import annotations

import argparse
from typing import Any

from open_responses.cli.http import Server
from open_responses.cli.tables import NOTHING, count, moment, plain, print_json, print_table, seconds, text


def health(server: Server, args: argparse.Namespace) -> int:
    """The health of each part. Returns 1 if no process may be restarted now."""
    found = server.get("/v1/admin/health")
    advice = found["restart"]
    if args.json:
        print_json(found)
        return int(not advice["is_safe"])
    backlog, configuration = found["backlog"], found["configuration"]
    waiting = backlog["workflow_tasks"] + backlog["activity_tasks"]
    print_table(
        ("part", "", "detail"),
        [
            ("Temporal", *_part(found["temporal"])),
            ("Redis", *_part(found["redis"])),
            ("backlog", "ok", f"{count(waiting)} tasks wait, the oldest for {seconds(backlog['oldest_seconds'])}"),
            (
                "configuration",
                "ok" if configuration["error"] is None else "FAILS",
                configuration["error"] or f"loaded {moment(configuration['loaded_at'])}",
            ),
        ],
    )
    print()
    print_table(
        ("worker", "running", "last sign of life", "version"),
        [
            (row["id"], count(row["running"]), f"{seconds(row['lease_age_seconds'])} ago", text(row["version"]))
            for row in found["workers"]
        ],
    )
    print()
    print_table(
        ("provider", "adapter", "breaker", "last error"),
        [(row["name"], row["adapter"], _breaker(row), text(row["last_error"])) for row in found["providers"]],
    )
    if found["takeovers"]:
        print()
        print_table(
            ("worker that died", "taken over", "after", "by", "activities", "responses"),
            [_takeover(row) for row in found["takeovers"]],
        )
    print(f"\nrestart: {'safe, one process at a time' if advice['is_safe'] else 'NOT NOW'}")
    for line in (*advice["reasons"], *advice["notes"]):
        print(f"  {plain(line)}")
    return int(not advice["is_safe"])


def refusals(server: Server, args: argparse.Namespace) -> int:
    """Refused requests by tenant, code and endpoint; the kind that was refused last comes first."""
    query = {"hours": args.hours, "tenant": args.tenant, "code": args.code}
    found = server.get("/v1/admin/refusals", **query)
    if args.json:
        print_json(found["data"])
        return 0
    print_table(
        ("tenant", "status", "code", "endpoint", "refused", "last", "request"),
        [
            (
                "(no valid key)" if row["tenant"] is None else row["tenant"],
                str(row["status"]),
                row["code"],
                row["path"] or NOTHING,
                count(row["count"]),
                moment(row["last_at"]),
                text(row["last_request_id"]),
            )
            for row in found["data"]
        ],
    )
    return 0


def _part(part: Any) -> tuple[str, str]:
    return ("ok", f"answers in {part['latency_ms']:.0f} ms") if part["ok"] else ("FAILS", part["detail"])


def _breaker(provider: Any) -> str:
    until = "" if provider["open_until"] is None else f" until {moment(provider['open_until'])}"
    return f"{provider['breaker'].replace('_', ' ')}{until}"


def _takeover(row: Any) -> tuple[str, ...]:
    # An announced death is taken over at once.
    after = "at once" if row["silence_seconds"] is None else seconds(row["silence_seconds"])
    return (row["worker"], moment(row["at"]), after, row["by"], count(row["activities"]), text(row["responses"]))
