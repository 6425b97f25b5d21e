"""`open_responses responses`, `approvals`: list, show, follow, cancel, approve."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from http.client import HTTPException
from typing import Any

from open_responses.cli.http import CommandFailed, Server, with_query
from open_responses.cli.tables import (
    count,
    moment,
    money,
    plain,
    print_json,
    print_result,
    print_rows,
    print_table,
    seconds,
    text,
)

_ENDS = ("response.completed", "response.incomplete", "response.failed")
_RECONNECTS = 20
_PAUSE_SECONDS = 0.5
_FILTERS = ("status", "model", "provider", "tenant", "conversation", "error_code", "waiting", "slower_than")


def list_responses(server: Server, args: argparse.Namespace) -> int:
    """The responses that began last."""
    query = {name: getattr(args, name) for name in _FILTERS}
    rows = list(server.pages("/v1/responses", args.limit, **query, created_after=args.since, created_before=args.until))
    columns = ("response", "status", "model", "provider", "tenant", "created", "took", "tokens", "cost", "error")
    print_rows(rows, columns, _cells, as_json=args.json)
    return 0


def _cells(row: Any) -> tuple[str, ...]:
    waits = f" ({row['waiting_for']})" if row["waiting_for"] else ""
    is_running = row["ended_at"] is None
    took = seconds((time.time() if is_running else row["ended_at"]) - row["created_at"])
    return (
        row["id"],
        row["status"] + waits,
        text(row["model"]),
        text(row["provider"]),
        text(row["tenant"]),
        moment(row["created_at"]),
        f"{took} so far" if is_running else took,
        count(row["total_tokens"]),
        money(row["cost_usd"]),
        text(row["error_code"]),
    )


def show(server: Server, args: argparse.Namespace) -> int:
    """One response: how it stands, what it did, and what it said."""
    response = server.get(f"/v1/responses/{args.id}")
    timeline = server.get(f"/v1/responses/{args.id}/timeline")
    if args.json:
        print_json({"response": response, "timeline": timeline})
        return 0
    usage = response.get("usage") or {}
    print(f"{response['id']}  {response['status']}  {plain(response['model'])}  {moment(response['created_at'])}")
    if usage:
        print(f"tokens: {count(usage['input_tokens'])} in, {count(usage['output_tokens'])} out")
    if response.get("error"):
        print(f"error: {response['error']['code']}: {plain(response['error']['message'])}")
    print(f"Temporal: {timeline['temporal_url']}\n")
    print_table(
        ("step", "name", "turn", "attempt", "status", "took", "tokens", "detail"),
        [
            (
                step["kind"],
                step["name"],
                str(step["turn"]),
                str(step["attempt"]),
                step["status"],
                seconds(None if step["ended_at"] is None else step["ended_at"] - step["started_at"]),
                count(step.get("tokens")),
                step.get("response_id") or step["detail"],
            )
            for step in timeline["entries"]
        ],
    )
    if said := _said(response):
        print(f"\n{said}")
    return 0


def follow(server: Server, args: argparse.Namespace) -> int:
    """The events of a response: those so far, then each as it comes. A connection that breaks is made again."""
    last, tries = args.after, 0
    while True:
        try:
            for event in _events(server, args.id, last):
                last, tries = event["sequence_number"], 0
                _show_event(event, as_json=args.json)
                if event["type"] in _ENDS:
                    return 0 if event["type"] == "response.completed" else 1
        except CommandFailed as error:
            if error.status or tries >= _RECONNECTS:
                raise
        if tries >= _RECONNECTS:
            raise CommandFailed(f"the stream of {args.id} breaks again and again behind event {last}")
        tries += 1
        time.sleep(_PAUSE_SECONDS)


def _events(server: Server, response_id: str, after: int | None) -> Iterator[Any]:
    path = with_query(f"/v1/responses/{response_id}", {"stream": True, "include_obfuscation": "false"})
    path += "" if after is None else f"&starting_after={after}"
    with server.open("GET", path, Accept="text/event-stream") as answer:
        try:
            for line in answer:
                if line.startswith(b"data: {"):
                    yield json.loads(line[6:])
        except (OSError, HTTPException):
            # Broken off: the caller goes on behind the last event.
            return


def _show_event(event: Any, *, as_json: bool) -> None:
    if as_json:
        print_json(event)
    elif event["type"] == "response.output_text.delta":
        sys.stdout.write("".join(char if char.isprintable() or char == "\n" else " " for char in event["delta"]))
    elif event["type"] == "response.output_item.added" and event["item"]["type"] not in ("message", "reasoning"):
        item = event["item"]
        print(f"\n[{item['type']}{' ' + plain(str(item['name'])) if item.get('name') else ''}]")
    elif event["type"] in _ENDS:
        error = event["response"].get("error")
        print(f"\n[{event['response']['status']}{': ' + plain(error['message']) if error else ''}]")
    sys.stdout.flush()


def cancel(server: Server, args: argparse.Namespace) -> int:
    """Stop a response. One that has ended is left as it is."""
    response = server.send("POST", f"/v1/responses/{args.id}/cancel", {})
    print_result(response, f"{response['id']}  {response['status']}", as_json=args.json)
    return 0


def approvals(server: Server, args: argparse.Namespace) -> int:
    """The calls that wait for a person."""
    rows = list(server.pages("/v1/approvals", args.limit, tenant=args.tenant))
    columns = ("approval", "response", "tenant", "tool", "arguments", "asked")
    print_rows(rows, columns, _cells_of_approval, as_json=args.json)
    return 0


def _cells_of_approval(row: Any) -> tuple[str, ...]:
    return (
        row["id"],
        row["response_id"],
        text(row["tenant"]),
        _tool(row),
        row["arguments"],
        moment(row["requested_at"]),
    )


def approve(server: Server, args: argparse.Namespace) -> int:
    """Approve or deny a call. Without the approval's id, the only one that waits in the response."""
    approval = args.approval or _only_approval(server, args.id)
    body = {"approval_request_id": approval, "approve": not args.deny, "reason": args.reason}
    given = {name: value for name, value in body.items() if value is not None}
    response = server.send("POST", f"/v1/responses/{args.id}/approvals", given)
    print_result(response, f"{approval}  {'denied' if args.deny else 'approved'}", as_json=args.json)
    return 0


def _only_approval(server: Server, response_id: str) -> str:
    waiting = [row["id"] for row in server.pages("/v1/approvals", None) if row["response_id"] == response_id]
    if len(waiting) == 1:
        found: str = waiting[0]
        return found
    if not waiting:
        raise CommandFailed(f"no call of {response_id} waits for a person")
    raise CommandFailed(f"{len(waiting)} calls of {response_id} wait: name one of {', '.join(waiting)}")


def _tool(row: Any) -> str:
    return row["tool"] if row["server_label"] is None else f"{row['server_label']}.{row['tool']}"


def _said(response: Any) -> str:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    said = "".join(part.get("text", "") for part in parts)
    return "\n".join(plain(line) for line in said.splitlines())
