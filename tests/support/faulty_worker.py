"""`python -m tests.support.faulty_worker FAULT FILE [serve …]`: the worker, with an error that nobody has thought of.

It arises in the place that FAULT names, as soon as FILE is there. All else is as it stands.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.bridge import worker as bridge

from activities.worker.dead_worker_takeover import WorkerTakeover
from open_responses.cli.main import main
from open_responses.io.log.appender import Appender
from processes import worker_alone

MESSAGE = "the text of a user"
"""In the error's message. It is not to be in the process's log."""
_PAUSE_SECONDS = 0.05


async def _until(trigger: Path) -> None:
    while not trigger.exists():
        await asyncio.sleep(_PAUSE_SECONDS)


def _poller(trigger: Path, poll: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def polled(self: bridge.Worker) -> Any:
        polling, failing = asyncio.ensure_future(poll(self)), asyncio.ensure_future(_until(trigger))
        await asyncio.wait((polling, failing), return_when=asyncio.FIRST_COMPLETED)
        if not polling.done():
            raise ValueError(MESSAGE)
        failing.cancel()
        return await polling

    return polled


def break_at(fault: str, trigger: Path) -> None:
    """Put the error in its place."""
    if fault in ("activity poller", "workflow poller"):
        name = "poll_activity_task" if fault == "activity poller" else "poll_workflow_activation"
        setattr(bridge.Worker, name, _poller(trigger, getattr(bridge.Worker, name)))
    elif fault == "appender":
        deliver = Appender._deliver

        async def delivered(self: Appender, *given: Any) -> None:
            if trigger.exists():
                raise ValueError(MESSAGE)
            await deliver(self, *given)

        Appender._deliver = delivered  # type: ignore[method-assign]
    elif fault == "leaving":

        async def forget(self: WorkerTakeover, workflow_ids: object) -> None:
            raise ValueError(MESSAGE)

        WorkerTakeover.forget_stickiness = forget  # type: ignore[method-assign]
    else:
        raise SystemExit(f"no such fault: {fault}")


if __name__ == "__main__":
    fault, trigger, *command = sys.argv[1:]
    break_at(fault, Path(trigger))
    sys.exit(main(command) if command else worker_alone.run())
