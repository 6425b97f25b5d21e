"""`open_responses conformance URL`: tries the clauses of the specification against any server."""

from __future__ import annotations

import argparse
import asyncio

from open_responses.cli.http import CommandFailed, Server
from open_responses.cli.tables import print_json, print_table
from open_responses.conformance.clauses import CLAUSES, Answer, NoAnswer, Probe


def run(args: argparse.Namespace) -> int:
    """Try every clause. Returns 1 if one is not met."""
    server = Server.at(args.url.removesuffix("/").removesuffix("/v1"), args.key)
    model = args.model or _first_model(server)
    results = list(zip(CLAUSES, asyncio.run(_problems(server, model)), strict=True))
    met = sum(problem is None for _, problem in results)
    if args.json:
        clauses = [{"id": c.id, "says": c.says, "ok": p is None, "problem": p} for c, p in results]
        print_json({"url": server.url, "model": model, "met": met, "of": len(results), "clauses": clauses})
    else:
        rows = [(c.id, "met" if p is None else "NOT MET", c.says, p or "") for c, p in results]
        print_table(("clause", "", "says", "problem"), rows)
        print(f"\n{met} of {len(results)} clauses are met by {server.url} with the model {model}.")
    return int(met < len(results))


async def _problems(server: Server, model: str) -> list[str | None]:
    async def ask(method: str, path: str, body: object) -> Answer:
        return _asked(server, method, path, body)

    probe = Probe(ask, model)
    return [await clause.problem(probe) for clause in CLAUSES]


def _asked(server: Server, method: str, path: str, body: object) -> Answer:
    try:
        with server.open(method, path, body, Accept="application/json, text/event-stream") as answer:
            media = str(getattr(answer, "headers", {}).get("content-type", ""))
            return Answer(200, media, answer.read().decode())
    except CommandFailed as error:
        if error.status == 0:
            raise NoAnswer(str(error)) from None
        return Answer(error.status, "", error.body)


def _first_model(server: Server) -> str:
    models = server.get("/v1/models")["data"]
    if not models:
        raise CommandFailed(f"{server.url} lists no model: name one with --model")
    first: str = models[0]["id"]
    return first
