"""`python -m tests.campaigns`: a long campaign with servers of its own; exit code 1 if a promise was not kept."""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from tests.campaigns.campaign import Campaign, Plan
from tests.campaigns.report import Report
from tests.campaigns.servers import campaign_servers
from tests.support.fake_upstream import Upstream
from tests.support.webhook_receiver import WebhookReceiver


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument("--responses", type=int, default=150, help="ask for at least so many")
    parser.add_argument("--faults", type=int, default=40, help="have at least so many")
    parser.add_argument("--seconds", type=float, help="end after this time instead, and a session of each kind")
    parser.add_argument("--clients", type=int, default=8, help="how many ask at the same time")
    parser.add_argument("--without", action="append", default=[], help="leave out the fault of this name")
    parser.add_argument("--only", action="append", default=[], help="no faults but those of these names")
    parser.add_argument("--kind", action="append", default=[], help="no sessions but those of these kinds")
    parser.add_argument("--seed", default=uuid4().hex[:8], help="the same draws; the moments differ even so")
    parser.add_argument("--data", type=Path, help="for logs and databases; a temporary folder by default")
    parser.add_argument("--out", type=Path, default=Path(".data/campaign.json"), help="the report as JSON")
    asked = parser.parse_args()
    # The SDK of the MCP server switches on the log of each request.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    plan = Plan(
        asked.seed,
        asked.clients,
        asked.responses,
        asked.faults,
        asked.seconds,
        without=frozenset(asked.without),
        only=frozenset(asked.only),
        kinds=frozenset(asked.kind),
    )
    data = asked.data or Path(tempfile.mkdtemp(prefix="campaign-"))
    report = asyncio.run(_run(plan, data / time.strftime("%H%M%S")))
    report.save(asked.out)
    print(report.text())
    print(f"\nreport: {asked.out}; logs: {data}", flush=True)
    return 1 if report.broken or report.problems or report.lasting_keys else 0


async def _run(plan: Plan, data: Path) -> Report:
    print(f"seed {plan.seed}; logs: {data}/logs", flush=True)
    async with (
        Upstream() as upstream,
        WebhookReceiver() as receiver,
        campaign_servers(data, upstream, receiver) as servers,
    ):
        return await Campaign(servers, upstream, plan, lambda line: print(line, flush=True)).run()


if __name__ == "__main__":
    raise SystemExit(main())
