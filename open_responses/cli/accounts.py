"""`open_responses usage` and `keys`: what was spent, and who may spend it."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import secrets
import time
from typing import Any

from open_responses.api_keys.limits import LIMITS
from open_responses.cli.http import CommandFailed, Server
from open_responses.cli.tables import count, moment, money, print_json, print_result, print_rows, print_table, text

_GROUPS = ("tenant", "model", "day")


def usage(server: Server, args: argparse.Namespace) -> int:
    """Responses, tokens and cost, by tenant, model or day."""
    found = server.get("/v1/usage", **{"from": args.since, "to": args.until, "group_by": args.by})
    if args.json:
        print_json(found)
        return 0
    groups = [name for name in _GROUPS if name in found["group_by"]]
    rows = [(*(text(row.get(name)) for name in groups), *_spent(row)) for row in found["data"]]
    total = (*("total" if index == 0 else "" for index, _ in enumerate(groups)), *_spent(found["total"]))
    print_table((*groups, "responses", "failed", "in", "out", "tokens", "cost"), [*rows, total])
    return 0


def _spent(row: Any) -> tuple[str, ...]:
    unpriced = f" ({row['unpriced_responses']} without a price)" if row.get("unpriced_responses") else ""
    numbers = (row[name] for name in ("responses", "failed", "input_tokens", "output_tokens", "total_tokens"))
    return (*map(count, numbers), money(row["cost_usd"]) + unpriced)


def list_keys(server: Server, args: argparse.Namespace) -> int:
    """The keys, without the keys themselves."""
    rows = list(server.pages("/v1/admin/keys", args.limit, tenant=args.tenant))
    columns = ("id", "name", "tenant", "scopes", "from", "created", "expires", "state", "limits")
    print_rows(rows, columns, _cells_of_key, as_json=args.json)
    return 0


def _cells_of_key(row: Any) -> tuple[str, ...]:
    return (
        row["id"],
        text(row["name"]),
        row["tenant"],
        text(row["scopes"]),
        row["source"],
        moment(row["created_at"]),
        moment(row["expires_at"]),
        _state(row),
        text([f"{name}={value}" for name, value in row["limits"].items() if value is not None]),
    )


def _state(row: Any) -> str:
    if row["revoked_at"]:
        return "revoked"
    return "expired" if row["expires_at"] and row["expires_at"] <= time.time() else "in force"


def create_key(server: Server, args: argparse.Namespace) -> int:
    """A new key, which is in force at once. It is shown this once."""
    made = server.send("POST", "/v1/admin/keys", {"tenant": args.tenant, **_settings(args)})
    if args.json:
        print_json(made)
        return 0
    print(f"{made['id']}, a key of {made['tenant']}. It is shown this once:\n\n{made['key']}")
    return 0


def change_key(server: Server, args: argparse.Namespace) -> int:
    """Change what is given; the rest stays."""
    changes = _settings(args)
    if not changes:
        raise CommandFailed("nothing to change: give --name, --scopes, --models, --tools, --expires-at or --limit")
    changed = server.send("POST", f"/v1/admin/keys/{args.id}", changes)
    print_result(changed, f"{changed['id']}  changed: {', '.join(changes)}", as_json=args.json)
    return 0


def revoke_key(server: Server, args: argparse.Namespace) -> int:
    """End a key for good."""
    revoked = server.send("DELETE", f"/v1/admin/keys/{args.id}")
    print_result(revoked, f"{args.id}  revoked", as_json=args.json)
    return 0


def audit(server: Server, args: argparse.Namespace) -> int:
    """Every change of a key, newest first."""
    every = server.pages("/v1/admin/keys/audit", None if args.id else args.limit)
    rows = list(itertools.islice((row for row in every if args.id in (None, row["key_id"])), args.limit))
    columns = ("at", "action", "key", "name", "tenant", "by", "whose key is", "fields")
    print_rows(rows, columns, _cells_of_change, as_json=args.json)
    return 0


def _cells_of_change(row: Any) -> tuple[str, ...]:
    return (
        moment(row["at"]),
        row["action"],
        row["key_id"],
        text(row["key_name"]),
        row["tenant"],
        row["by"],
        # The operator's key in words: its name, where it has one, and its tenant.
        text([one for one in (row["by_name"], row["by_tenant"]) if one]),
        text(row["fields"]),
    )


def add_key(args: argparse.Namespace) -> int:
    """A key for `open_responses.toml`. Writes nothing anywhere: the key is for the client, the block for the file."""
    key, block = new_key(args.tenant)
    if args.json:
        print_json({"tenant": args.tenant, "key": key, "toml": block})
        return 0
    print(f"The key, shown this once. The clients of {args.tenant} send it as `Authorization: Bearer …`:\n\n{key}\n")
    print(f"For open_responses.toml, or the file that OPEN_RESPONSES_CONFIG names; the API reads it again.\n\n{block}")
    return 0


def new_key(tenant: str) -> tuple[str, str]:
    """A key of 256 random bits, and the TOML block that lets it in."""
    key = f"or-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(key.encode()).hexdigest()
    return key, f'[[api_keys]]\ntenant = "{tenant}"\nsha256 = "{digest}"'


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name in ("name", "expires_at"):
        if getattr(args, name) is not None:
            settings[name] = getattr(args, name)
    for name in ("scopes", "models", "tools"):
        if getattr(args, name) is not None:
            settings[name] = [one for one in getattr(args, name).split(",") if one]
    if args.limits:
        settings["limits"] = dict(args.limits)
    return settings


def limit(given: str) -> tuple[str, int | float | str | None]:
    """`name=value` of `--limit`; without a value, the limit is taken away."""
    name, _, value = given.partition("=")
    if name not in LIMITS:
        raise argparse.ArgumentTypeError(f"{name!r} is no limit: use one of {', '.join(LIMITS)}")
    if not value:
        return name, None
    if name == "budget_period":
        return name, value
    try:
        return name, float(value) if name == "budget_usd" else int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{name} must be a number, and is {value!r}") from None
