"""Holds the results of activities during an outage of Temporal.

What this prevents: the SDK repeats a completion for ten seconds and then drops it, independently of the client's
`retry_config`. The result would be lost, and the workflow would wait for the heartbeat timeout.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from open_responses.io.metrics import recording as metrics

log = structlog.get_logger(__name__)

_LOOK_EVERY_SECONDS = 0.5
_ANSWER_WITHIN = timedelta(seconds=2)


class TemporalWatch(Interceptor):
    """Checks twice a second whether Temporal answers, and holds the activities that end while it does not."""

    def __init__(self, temporal: Client) -> None:
        self._temporal = temporal
        self._is_up = asyncio.Event()
        self._is_up.set()

    async def run(self) -> None:
        """Check Temporal until cancelled."""
        while True:
            is_up = await self._answers()
            metrics.dependency_is_up("temporal", is_up)
            if is_up and not self._is_up.is_set():
                log.info("temporal_is_back")
                self._is_up.set()
            elif not is_up and self._is_up.is_set():
                log.warning("temporal_is_away")
                self._is_up.clear()
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def wait_until_up(self) -> None:
        await self._is_up.wait()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Held(next, self)

    async def _answers(self) -> bool:
        try:
            return await self._temporal.service_client.check_health(timeout=_ANSWER_WITHIN)
        except RPCError:
            return False


class _Held(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, watch: TemporalWatch) -> None:
        super().__init__(next)
        self._watch = watch

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if activity.info().is_local:
            # Its result is part of the workflow task, which Temporal repeats.
            return await super().execute_activity(input)
        try:
            return await super().execute_activity(input)
        finally:
            await self._watch.wait_until_up()
