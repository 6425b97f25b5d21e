"""An activity of ours heartbeats while it runs, and not before Temporal needs it."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from temporalio.testing import ActivityEnvironment

from activities.worker import running_activity as module
from activities.worker.cancellation_registry import RunningWork
from activities.worker.running_activity import running_activity
from open_responses.io.redis.leases import Lease, Running


class _Lease:
    def began(self, running: Running) -> None:
        """Lists nothing."""

    def ended(self, running: Running) -> None:
        """Has listed nothing."""


async def beats_of(passes: int) -> int:
    """How often an activity heartbeats that takes so many passes of the event loop."""
    beats = list[object]()

    async def work() -> None:
        with running_activity(cast(Lease, _Lease()), RunningWork(), "resp_a"):
            for _ in range(passes):
                await asyncio.sleep(0)

    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.append(details)
    await environment.run(work)
    return len(beats)


async def test_a_short_activity_sends_no_heartbeat() -> None:
    """Temporal writes each into its database."""
    assert await beats_of(20) == 0


async def test_a_longer_one_goes_on_to_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEARTBEAT_SECONDS", 0)
    assert await beats_of(20) > 2
