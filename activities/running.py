"""The samples that this process runs, and the ways to stop one."""

from __future__ import annotations

import asyncio
from typing import Literal

Stop = Literal["cancelled", "handed_over"]


class RunningSamples:
    """Response id -> a future that tells its sample to stop, and why."""

    def __init__(self) -> None:
        self._stops: dict[str, asyncio.Future[Stop]] = {}

    def enter(self, response_id: str) -> asyncio.Future[Stop]:
        stop: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        self._stops[response_id] = stop
        return stop

    def leave(self, response_id: str, stop: asyncio.Future[Stop]) -> None:
        if self._stops.get(response_id) is stop:
            del self._stops[response_id]

    def cancel(self, response_id: str) -> None:
        """Stop one sample at once, whether or not its provider says anything."""
        self._stop(self._stops.get(response_id), "cancelled")

    def hand_over(self) -> None:
        """This process ends: stop them all, so that other workers go on."""
        for stop in list(self._stops.values()):
            self._stop(stop, "handed_over")

    @property
    def response_ids(self) -> list[str]:
        return list(self._stops)

    @staticmethod
    def _stop(stop: asyncio.Future[Stop] | None, why: Stop) -> None:
        if stop is not None and not stop.done():
            stop.set_result(why)
