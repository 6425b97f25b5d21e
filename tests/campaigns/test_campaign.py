"""Anything may fail at any time: clients ask and come back, and no answer has a gap, a repeat or a half of another.

`make test-all` has ten seconds of it, and a session of each kind, always with the same draws, on the session's servers.
`make chaos` has servers of its own, and so every fault, and as much as it is told to (docs/durability.md).
"""

from __future__ import annotations

import pytest

from tests.campaigns.campaign import Campaign, Plan
from tests.campaigns.kinds.table import KINDS
from tests.campaigns.servers import Servers
from tests.support.fake_upstream import Upstream
from tests.support.stack import Stack
from tests.support.webhook_receiver import WebhookReceiver

pytestmark = pytest.mark.campaign

_SHORT_SECONDS, _SHORT_PATIENCE = 10.0, 90.0
# A client that was away meanwhile may get a splice (docs/decisions/0026, "Left").
_NOT_PROMISED = frozenset({"FLUSHALL as a worker dies", "FLUSHALL as a worker dies, the API frozen"})


@pytest.mark.timeout(_SHORT_SECONDS + 2 * _SHORT_PATIENCE)
async def test_no_answer_has_a_gap_whatever_fails(stack: Stack, upstream: Upstream, receiver: WebhookReceiver) -> None:
    plan = Plan(
        seed="7",
        clients=5,
        seconds=_SHORT_SECONDS,
        patience=_SHORT_PATIENCE,
        pause=(0.5, 2.0),
        without=_NOT_PROMISED,
    )
    report = await Campaign(Servers(stack, receiver), upstream, plan).run()
    print(f"\n{report.text()}")
    assert not report.broken, report.text()
    assert not report.problems, report.text()
    assert not report.lasting_keys, report.text()
    assert report.by_kind().keys() >= KINDS.keys()
    assert report.faults
