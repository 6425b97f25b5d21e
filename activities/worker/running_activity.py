"""An activity of ours while it runs: listed in the worker's lease, stoppable, and heartbeating.

What this prevents: an activity of a dead worker that no list names, and a running activity that Temporal treats as
lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from temporalio import activity

from activities.worker.cancellation_registry import RunningWork, Stop, current_activity
from open_responses.io.background import in_background
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.leases import Lease

_HEARTBEAT_SECONDS = 15.0


@contextlib.contextmanager
def running_activity(lease: Lease, running: RunningWork, response_id: str) -> Iterator[asyncio.Future[Stop]]:
    """List, heartbeat and register an activity during its work. Yields the future that is resolved when the work has to
    stop. Enter this inside the activity."""
    named = current_activity()
    lease.began(named)
    stop = running.enter(response_id)
    beats = in_background("heartbeat", _beat())
    metrics.activity_began()
    try:
        yield stop
    finally:
        metrics.activity_ended()
        beats.cancel()
        running.leave(response_id, stop)
        lease.ended(named)


async def _beat() -> None:
    """Heartbeat until cancelled. Not at once: Temporal writes each heartbeat, and most activities are shorter."""
    while True:
        await asyncio.sleep(_HEARTBEAT_SECONDS)
        activity.heartbeat()
