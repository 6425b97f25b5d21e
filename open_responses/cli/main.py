"""The commands of `open_responses`, and their options."""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable, Sequence
from typing import Protocol

from open_responses.cli import accounts, agents, conformance, responses, server
from open_responses.cli.http import CommandFailed, Server
from open_responses.cli.tables import complain
from open_responses.io.listening import add_options

DEFAULT_URL = "http://127.0.0.1:8080"
_STATUSES = "in_progress, awaiting_approval, retrying, completed, incomplete, failed or cancelled"
_LONGEST_NAME = 64

Command = Callable[[Server, argparse.Namespace], int]


class Commands(Protocol):
    """The commands of a parser, of which argparse does not name the type."""

    def add_parser(self, name: str, *, help: str = ..., description: str = ...) -> argparse.ArgumentParser:
        """Add one more."""
        ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0; 1 if it found a problem or the server refused; 2 for wrong arguments."""
    # `open_responses responses list | head` is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    args = _parser().parse_args(arguments)
    try:
        if args.offline is not None:
            done: int = args.offline(args)
            return done
        command: Command = args.command
        return command(Server.at(args.url, args.key), args)
    except CommandFailed as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="open_responses",
        description="Operates an open_responses server. Each command has --help, and --json for programs.",
    )
    parser.set_defaults(offline=None)
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_responses(commands)
    _add_webhooks(commands)
    _add_schedules(commands)
    _add_usage(commands)
    _add_keys(commands)
    _add_server(commands)
    check = _command(commands, "check", "check the configuration, imports, keys, Temporal, Redis and providers")
    check.set_defaults(offline=_check)
    check.add_argument("--offline", dest="stay", action="store_true", help="check the files alone, and connect nowhere")
    _add_conformance(commands)
    about = "serve the API and run a worker, in one process: for small deployments"
    serve = commands.add_parser("serve", help=about, description=_sentence(about))
    serve.set_defaults(offline=_serve)
    add_options(serve)
    return parser


def _add_responses(commands: Commands) -> None:
    group = _group(commands, "responses", "list, show, follow, cancel and approve responses")
    listing = _remote(group, "list", responses.list_responses, "the responses that began last")
    listing.add_argument("--status", help=_STATUSES)
    for name in ("model", "provider", "tenant", "conversation", "error-code"):
        listing.add_argument(f"--{name}", help=f"with exactly this {name.replace('-', ' ')}")
    listing.add_argument("--waiting", action="store_true", help="that wait for a person, or for a provider")
    listing.add_argument("--slower-than", metavar="SECONDS", help="that took at least so long, or still run after it")
    listing.add_argument("--since", metavar="TIME", help="begun at this date or time (RFC 3339), or later")
    listing.add_argument("--until", metavar="TIME", help="begun before this date or time")
    _limited(listing)
    for name, command, about in (
        ("show", responses.show, "how a response stands, what it did, and what it said"),
        ("follow", responses.follow, "the events so far, and each as it comes"),
        ("cancel", responses.cancel, "stop a response"),
        ("approve", responses.approve, "approve or deny a call that waits for a person"),
    ):
        one = _remote(group, name, command, about)
        one.add_argument("id", type=_id, help="the response, resp_…")
        if name == "follow":
            one.add_argument("--after", type=int, metavar="N", help="only the events behind this sequence number")
        if name == "approve":
            one.add_argument("approval", nargs="?", help="the approval, mcpr_…; without it, the only one that waits")
            one.add_argument("--deny", action="store_true", help="deny the call")
            one.add_argument("--reason", help="the reason that the model reads")
    waiting = _remote(commands, "approvals", responses.approvals, "the calls that wait for a person")
    waiting.add_argument("--tenant", help="of this tenant")
    _limited(waiting)


def _add_webhooks(commands: Commands) -> None:
    group = _group(commands, "webhooks", "what was sent to webhooks, and sending it again")
    listing = _remote(group, "list", agents.list_deliveries, "the deliveries, newest first")
    listing.add_argument("--status", help="pending, delivered or failed")
    listing.add_argument("--response", type=_id, help="of this response, resp_…")
    listing.add_argument("--tenant", help="of this tenant")
    _limited(listing)
    replay = _remote(group, "replay", agents.replay_delivery, "send an event again, with the same id")
    replay.add_argument("id", type=_id, help="the delivery, whd_…")
    test = _remote(group, "test", agents.test_endpoint, "send a test event to an endpoint of your key")
    test.add_argument("id", type=_id, help="the endpoint, whe_…")
    test.add_argument("--event", default="response.completed", help="its type (default: response.completed)")


def _add_schedules(commands: Commands) -> None:
    group = _group(commands, "schedules", "requests that run at a time or on a cron expression")
    _limited(_remote(group, "list", agents.list_schedules, "your tenant's schedules"))
    runs = _remote(group, "runs", agents.list_runs, "the runs of a schedule, with their responses")
    runs.add_argument("id", type=_id, help="the schedule, sched_…")
    _limited(runs)
    for act, about in (
        ("pause", "start nothing until the schedule is resumed"),
        ("resume", "go on with the next time"),
        ("trigger", "run the request now"),
        ("delete", "delete a schedule; its responses stay"),
    ):
        one = _remote(group, act, agents.act_on_schedule, about)
        one.set_defaults(act=act)
        one.add_argument("id", type=_id, help="the schedule, sched_…")


def _add_usage(commands: Commands) -> None:
    usage = _remote(commands, "usage", accounts.usage, "responses, tokens and cost by tenant, model or day")
    usage.add_argument("--since", metavar="DATE", help="from this date on; 30 days ago by default")
    usage.add_argument("--until", metavar="DATE", help="before this date")
    usage.add_argument("--by", default="day", help="tenant, model, day, or several with commas (default: day)")


def _add_keys(commands: Commands) -> None:
    group = _group(commands, "keys", "API keys: of the running server, and for open_responses.toml")
    listing = _remote(group, "list", accounts.list_keys, "the keys in force and revoked")
    listing.add_argument("--tenant", type=_tenant, help="of this tenant")
    _limited(listing)
    create = _remote(group, "create", accounts.create_key, "make a key that is in force at once, without a restart")
    create.add_argument("tenant", type=_tenant, help="whose responses these are; may have several keys")
    change = _remote(group, "change", accounts.change_key, "change a key's limits, scopes or end")
    for command in (create, change):
        command.add_argument("--name", help="a name for people")
        command.add_argument("--scopes", help="admin, or empty for none")
        command.add_argument("--models", help="patterns of models, with commas; empty for all")
        command.add_argument("--tools", help="names of tools and labels of MCP servers, with commas; empty for all")
        command.add_argument("--expires-at", type=int, metavar="SECONDS", help="the end, in Unix seconds")
        command.add_argument(
            "--limit",
            dest="limits",
            type=accounts.limit,
            action="append",
            metavar="NAME=VALUE",
            help="such as requests_per_minute=60; without a value, no limit. May be repeated",
        )
    revoke = _remote(group, "revoke", accounts.revoke_key, "end a key for good")
    for command in (change, revoke):
        command.add_argument("id", type=_id, help="the key's id, key_…")
    audit = _remote(group, "audit", accounts.audit, "every change of a key, and who made it")
    audit.add_argument("id", nargs="?", type=_id, help="of this key, key_…")
    _limited(audit)
    add = _command(group, "add", "make a key for open_responses.toml, and the TOML block to paste; needs no server")
    add.set_defaults(offline=accounts.add_key)
    add.add_argument("tenant", type=_tenant, help="whose responses these are; may have several keys")


def _add_server(commands: Commands) -> None:
    _remote(commands, "health", server.health, "the health of each part, takeovers, and whether a restart is safe now")
    refusals = _remote(commands, "refusals", server.refusals, "refused requests by tenant, code and endpoint")
    refusals.add_argument("--hours", type=_count, default=24, help="the last so many hours, at most 48 (default: 24)")
    refusals.add_argument("--tenant", help="of this tenant")
    refusals.add_argument("--code", help="with this error code")


def _add_conformance(commands: Commands) -> None:
    about = "run the clauses of the Open Responses specification against a server, this one or another"
    command = _command(commands, "conformance", about)
    command.set_defaults(offline=conformance.run)
    command.add_argument("url", nargs="?", default=os.environ.get("OPEN_RESPONSES_URL", DEFAULT_URL))
    command.add_argument("--model", help="the model to ask; the first of /v1/models by default")
    _keyed(command)


def _group(commands: Commands, name: str, about: str) -> Commands:
    return commands.add_parser(name, help=about, description=_sentence(about)).add_subparsers(
        required=True, metavar="command"
    )


def _command(commands: Commands, name: str, about: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=about, description=_sentence(about))
    command.add_argument("--json", action="store_true", help="JSON instead of a table")
    return command


def _remote(commands: Commands, name: str, run: Command, about: str) -> argparse.ArgumentParser:
    command = _command(commands, name, about)
    command.set_defaults(command=run)
    url = os.environ.get("OPEN_RESPONSES_URL", DEFAULT_URL)
    command.add_argument("--url", default=url, help=f"the server; OPEN_RESPONSES_URL, or {DEFAULT_URL}, by default")
    _keyed(command)
    return command


def _keyed(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--key",
        default=os.environ.get("OPEN_RESPONSES_KEY"),
        help="the API key; better in OPEN_RESPONSES_KEY, where other users of this machine do not see it",
    )


def _limited(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=_count, default=20, metavar="N", help="at most so many (default: 20)")


def _check(args: argparse.Namespace) -> int:
    # This and `serve` are the only commands that import the server.
    from open_responses.cli import check

    return check.run(args)


def _serve(args: argparse.Namespace) -> int:
    from open_responses.cli import serve

    return serve.run(args)


def _sentence(about: str) -> str:
    return about[0].upper() + about[1:] + "."


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, and is {text!r}")
    return int(text)


def _id(text: str) -> str:
    if not text.isascii() or not text.replace("_", "").replace("-", "").isalnum():
        raise argparse.ArgumentTypeError(f"{text!r} is no id")
    return text


def _tenant(text: str) -> str:
    """As `/v1/admin/keys` takes it: Temporal's index can search for it."""
    is_searchable = not (text.startswith("'") or text.endswith("'") or set(text) & set('"\\'))
    if not text or len(text) > _LONGEST_NAME or not text.isprintable() or not is_searchable:
        raise argparse.ArgumentTypeError(
            "a tenant's name has 1 to 64 printable characters, none of them \" or \\, and no ' at its ends"
        )
    return text
