"""Starts all parts in order, restarts what dies, stops all in reverse."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.services import Service, stop, wait_ready

_START_SECONDS = 60.0
_POLL_SECONDS = 0.02
# A part that dies this often in ten seconds is broken: keep trying, but not in a frenzy.
_FRENZY = 5


class StartFailed(Exception):
    """A part did not come up. Its text says which, and the end of its log."""


@dataclass(slots=True)
class Part:
    """A supervised service. `make` gives the service for each start, so that a restarted worker gets a new id."""

    make: Callable[[], Service]
    on_death: Callable[[Service], Coroutine[Any, Any, None]] | None = None
    service: Service = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=_FRENZY))


class Supervisor:
    """`say` gets one line for each thing that a watcher would want to know."""

    def __init__(self, parts: list[Part], data: Path, say: Callable[[str], None]) -> None:
        self._parts = parts
        self._data = data
        self._say = say
        self._started: list[Part] = []
        self._restarts: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """One after the other, each waited for. Raises StartFailed."""
        for part in self._parts:
            began = time.monotonic()
            self._launch(part)
            self._started.append(part)
            self._say(f"{part.service.name:<10} starting …")
            if not await wait_ready(part.service, part.process, _START_SECONDS):
                raise StartFailed(f"{part.service.name} did not start. The end of its log:\n{self._tail(part)}")
            self._say(f"{part.service.name:<10} ready in {time.monotonic() - began:.1f} s")

    async def watch(self, stopping: asyncio.Event) -> None:
        """Restart what dies until told to stop."""
        while not stopping.is_set():
            for part in self._started:
                if part.process.poll() is not None:
                    await self._revive(part)
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """In reverse order, so that nobody loses what it still needs."""
        for part in reversed(self._started):
            await stop(part.process)
            self._pid_file(part).unlink(missing_ok=True)
            self._say(f"{part.service.name:<10} stopped")

    async def _revive(self, part: Part) -> None:
        dead, code = part.service, part.process.returncode
        part.deaths.append(time.monotonic())
        frenzied = len(part.deaths) == _FRENZY and part.deaths[-1] - part.deaths[0] < 10
        self._say(f"{dead.name:<10} died ({_how(code)}); restarting{' in 5 s' if frenzied else ''}")
        if frenzied:
            self._say(self._tail(part))
            await asyncio.sleep(5)
        self._launch(part)
        if part.on_death is not None:
            task = asyncio.create_task(part.on_death(dead))
            self._restarts.add(task)
            task.add_done_callback(self._restarts.discard)

    def _launch(self, part: Part) -> None:
        part.service = part.make()
        part.process = part.service.start(self._data / "logs")
        file = self._pid_file(part)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(part.process.pid))

    def _pid_file(self, part: Part) -> Path:
        return self._data / "pids" / f"{part.service.name}.pid"

    def _tail(self, part: Part) -> str:
        log = (self._data / "logs" / f"{part.service.name}.log").read_text(errors="replace")
        return "\n".join(f"    {line}" for line in log.splitlines()[-12:])


def new_worker_id(index: int) -> str:
    """Never used twice: a restarted worker is another one."""
    return f"worker-{index}-{secrets.token_hex(4)}"


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
