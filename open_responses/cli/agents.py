"""`open_responses webhooks` and `schedules`: the deliveries, and the requests that run at their times."""

from __future__ import annotations

import argparse
from typing import Any

from open_responses.cli.http import Server
from open_responses.cli.tables import count, moment, print_result, print_rows, text


def list_deliveries(server: Server, args: argparse.Namespace) -> int:
    """The deliveries of webhooks, newest first."""
    asked = {"status": args.status, "response_id": args.response, "tenant": args.tenant}
    rows = list(server.pages("/v1/webhook_deliveries", args.limit, **asked))
    columns = ("id", "type", "response", "status", "attempts", "last", "next", "url")
    print_rows(rows, columns, _cells_of_delivery, as_json=args.json)
    return 0


def _cells_of_delivery(row: Any) -> tuple[str, ...]:
    last = row["attempts"][-1] if row["attempts"] else {"status": None, "error": None}
    return (
        row["id"],
        row["type"],
        text(row["response_id"]),
        row["status"],
        count(row["attempt_count"]),
        text(last["status"] or last["error"]),
        moment(row["next_attempt_at"]),
        row["url"],
    )


def replay_delivery(server: Server, args: argparse.Namespace) -> int:
    """Send an event again, with the same id."""
    sent = server.send("POST", f"/v1/webhook_deliveries/{args.id}/replay")
    print_result(sent, f"{args.id}  is sent again, as {sent['event_id']}", as_json=args.json)
    return 0


def test_endpoint(server: Server, args: argparse.Namespace) -> int:
    """Send a test event to an endpoint of the key. Returns 1 where the endpoint answers no 2xx."""
    done = server.send("POST", f"/v1/webhook_endpoints/{args.id}/test", {"event_type": args.event})
    print_result(done, f"{args.id}  answered {done['status_code']}", as_json=args.json)
    return int(not 200 <= done["status_code"] < 300)


def list_schedules(server: Server, args: argparse.Namespace) -> int:
    """The schedules of the key's tenant, newest first."""
    rows = list(server.pages("/v1/schedules", args.limit))
    columns = ("id", "name", "status", "when", "next", "runs", "note")
    print_rows(rows, columns, _cells_of_schedule, as_json=args.json)
    return 0


def _cells_of_schedule(row: Any) -> tuple[str, ...]:
    return (
        row["id"],
        text(row["name"]),
        row["status"],
        moment(row["at"]) if row["cron"] is None else f"{row['cron']} {row['timezone']}",
        moment(row["next_runs"][0] if row["next_runs"] else None),
        count(row["run_count"]),
        text(row["note"]),
    )


def list_runs(server: Server, args: argparse.Namespace) -> int:
    """The runs of a schedule, newest first."""
    rows = list(server.pages(f"/v1/schedules/{args.id}/runs", args.limit))
    columns = ("started", "status", "response", "ended as", "error")
    print_rows(rows, columns, _cells_of_run, as_json=args.json)
    return 0


def _cells_of_run(row: Any) -> tuple[str, ...]:
    return (
        moment(row["started_at"]),
        row["status"],
        text(row["response_id"]),
        text(row["response_status"]),
        text(row["error_code"]),
    )


def act_on_schedule(server: Server, args: argparse.Namespace) -> int:
    """Pause, resume or trigger a schedule, or delete it."""
    path = f"/v1/schedules/{args.id}"
    done = server.send("DELETE", path) if args.act == "delete" else server.send("POST", f"{path}/{args.act}")
    print_result(done, f"{args.id}  {done.get('status', 'deleted')}", as_json=args.json)
    return 0
