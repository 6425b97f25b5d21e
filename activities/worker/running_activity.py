"""An activity of ours while it runs: listed in the worker's lease, stoppable, and heartbeating.

What this prevents: an activity that a dead worker leaves unlisted, or one that Temporal takes for lost while it runs.
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
    """Around an activity's work; yields what is resolved when the work is to stop. To be entered in the activity."""
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
    while True:
        activity.heartbeat()
        await asyncio.sleep(_HEARTBEAT_SECONDS)
