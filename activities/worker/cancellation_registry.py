"""The samples and tool calls that this process runs for each response, and how to stop them."""

from __future__ import annotations

import asyncio
from typing import Literal

from temporalio import activity

from open_responses.io.redis.leases import Running

Stop = Literal["cancelled", "handed_over"]


def current_activity() -> Running:
    """This activity, as the worker's lease lists it."""
    info = activity.info()
    return Running(
        info.workflow_id or "",
        info.workflow_run_id or "",
        info.activity_id,
        kind=info.activity_type,
        attempt=info.attempt,
        task_token=info.task_token,
    )


class RunningWork:
    """Holds, for each response id, the futures that stop its sample and its tool calls; their value is the reason."""

    def __init__(self) -> None:
        self._stops: dict[str, set[asyncio.Future[Stop]]] = {}

    def enter(self, response_id: str) -> asyncio.Future[Stop]:
        stop: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self._stops.setdefault(response_id, set()).add(stop)
        return stop

    def leave(self, response_id: str, stop: asyncio.Future[Stop]) -> None:
        stops = self._stops.get(response_id, set())
        stops.discard(stop)
        if not stops:
            self._stops.pop(response_id, None)

    def cancel(self, response_id: str) -> None:
        """Stop one response's work at once, even if its provider or tool sends nothing."""
        self._stop(self._stops.get(response_id, set()), "cancelled")

    def hand_over(self) -> None:
        """Stop all work because this process ends. Other workers continue the work."""
        for stops in list(self._stops.values()):
            self._stop(stops, "handed_over")

    @property
    def response_ids(self) -> list[str]:
        return list(self._stops)

    @staticmethod
    def _stop(stops: set[asyncio.Future[Stop]], why: Stop) -> None:
        for stop in stops:
            if not stop.done():
                stop.set_result(why)
